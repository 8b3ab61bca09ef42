"""The pairs and the transitions of a layer as rows that can leave: logs, intervals, reasons.

E = routed experts, P = pairs a < b.
"""

from typing import Literal

import numpy as np
import pandas as pd

from analysis.coactivation import transition_lift
from analysis.pairs import MIN_EXPECTED

Null = Literal["load", "uniform"]
NEVER = "never together: no logarithm"
ZERO_LOW = "the interval reaches down to never: no lower logarithm"


def pair_table(
    tests: pd.DataFrame, *, layer_id: int, null: Null, num_documents: int, num_tokens: int
) -> pd.DataFrame:
    """pair_significance() against one null, the surest pair first.

    layer_id, expert_a, expert_b, tokens, expected, estimate (log2 lift) with the ends low and high
    of its interval, z, p, q, n_documents, n_tokens, reason (why something is empty).
    """
    few = "one document" if num_documents < 2 else f"fewer than {MIN_EXPECTED} tokens expected"
    why_P = (
        tests.reason if null == "load" else tests[f"z_{null}"].isna().map({True: few, False: ""})
    )
    table = pd.DataFrame(
        {
            "layer_id": layer_id,
            "expert_a": tests.expert_a,
            "expert_b": tests.expert_b,
            "tokens": tests.tokens,
            "expected": tests[f"expected_{null}"],
            "estimate": _log2(tests[f"lift_{null}"]),
            "low": _log2(tests[f"low_{null}"]),
            "high": _log2(tests[f"high_{null}"]),
            **{column: tests[f"{column}_{null}"] for column in ("z", "p", "q")},
            "n_documents": num_documents,
            "n_tokens": num_tokens,
            "reason": why_P.mask((why_P == "") & (tests.tokens == 0), NEVER),
        }
    )
    reaches_P = (table.reason == "") & table.low.isna()
    table["reason"] = table.reason.mask(reaches_P, ZERO_LOW)
    order = table.z.abs().fillna(-1).astype(float).argsort(kind="stable")
    return table.iloc[order[::-1]].reset_index(drop=True)


def transition_table(tokens_EE: np.ndarray, *, layer_id: int) -> pd.DataFrame:
    """layer_id, expert_id, next_expert_id, tokens, expected, estimate (log2 lift), reason."""
    expert, following = np.indices(tokens_EE.shape).reshape(2, -1)
    expected_EE = np.outer(tokens_EE.sum(1), tokens_EE.sum(0)) / max(tokens_EE.sum(), 1)
    lift = pd.Series(transition_lift(tokens_EE).ravel()).convert_dtypes()
    return pd.DataFrame(
        {
            "layer_id": layer_id,
            "expert_id": expert,
            "next_expert_id": following,
            "tokens": tokens_EE.ravel(),
            "expected": expected_EE.ravel(),
            "estimate": _log2(lift),
            "reason": lift.map(_why, na_action=None),
        }
    )


def _why(lift: float) -> str:
    if pd.isna(lift):
        return "a dead expert"
    return NEVER if lift == 0 else ""


def _log2(lift: pd.Series) -> pd.Series:
    """Empty where the lift is unknown or 0."""
    lift_P = lift.to_numpy(float, na_value=np.nan)
    log_P = np.full(lift_P.shape, np.nan)
    np.log2(lift_P, out=log_P, where=lift_P > 0)
    return pd.Series(log_P, index=lift.index).convert_dtypes()
