"""How undecided gates are, over groups of texts.

N = groups, L = MoE layers, M = their mean, then each.
"""

import numpy as np
import pandas as pd

from analysis.domain_counts import ALL_LAYERS
from analysis.groups import NOT_ENOUGH
from analysis.ratios import share_interval

NUMBERS = ("estimate", "low", "high", "null")


def gate_entropy_table(
    entropy_NL: np.ndarray,
    decisions_NL: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    experts_L: np.ndarray,
) -> pd.DataFrame:
    """A row for the mean of all layers, layer_id ALL_LAYERS, then one a layer.

    layer_id, estimate (mean entropy of a decision over ln E), low, high (95 % interval over groups
    within their domain), null (1: all experts score alike), n_groups, n_tokens, note.
    """
    share_NL = entropy_NL / np.log(experts_L)
    share_NM = np.column_stack([share_NL.mean(1), share_NL])
    decisions_NM = np.column_stack([decisions_NL.mean(1), decisions_NL])
    rows = []
    for place in range(share_NM.shape[1]):
        found = share_interval(share_NM[:, place], decisions_NM[:, place], domain_id_N)
        rows.append(
            {
                "layer_id": place - 1 if place else ALL_LAYERS,
                **found,
                "null": 1.0,
                "n_groups": len(domain_id_N),
                "n_tokens": int(decisions_NM[:, place].sum()),
                "note": _note(found["estimate"], found["low"]),
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(NUMBERS, "Float64"))


def _note(estimate: float, low: float) -> str:
    if np.isnan(estimate):
        return "the entropy of this gate is unknown"
    return f"{NOT_ENOUGH} how sure this is" if np.isnan(low) else ""
