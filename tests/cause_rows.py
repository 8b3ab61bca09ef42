"""Rows of a cause_table written by hand."""

import pandas as pd

from analysis.causes import DOUBLE, GROUPS, typed


def cause_rows(
    expert_id: int = 0,
    *,
    p: float | None = 0.001,
    clear: bool = True,
    known: bool = True,
    claimed: bool = True,
    num_controls: int = 20,
    domain: str = "math",
) -> pd.DataFrame:
    """Of one expert of layer 0. `known`: it has intervals."""
    rows = pd.DataFrame(
        {
            "layer_id": 0,
            "expert_id": expert_id,
            "domain": domain,
            "claimed": claimed,
            "group": GROUPS,
            "estimate": [0.5, 0.1, 0.2, 0.05, 0.4, 0.25],
            "low": [0.4, 0.0, 0.1, 0.0, 0.2, 0.1] if known else None,
            "high": [0.6, 0.2, 0.3, 0.1, 0.6, 0.4] if known else None,
            "p": [0.01 if known else None] * 5 + [p],
            "per_choice": 0.1,
            "per_choice_low": 0.05 if known else None,
            "per_choice_high": 0.15 if known else None,
            "n_groups": [6, 20, 6, 20, 26, 26],
            "n_documents": [12, 40, 12, 40, 52, 52],
            "n_tokens": 60,
            "n_choices": 30,
            "clear": clear if known else None,
            "controls": " ".join(map(str, range(1, num_controls + 1))),
            "n_controls": num_controls,
            "n_above": 0 if num_controls else None,
            "control_choices": 0.8 if num_controls else None,
            "seed": 0,
        }
    )
    return typed(rows if claimed else rows[rows.group == DOUBLE].reset_index(drop=True))
