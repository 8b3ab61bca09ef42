"""The pairs and the transitions of a layer as rows that can leave: logs, intervals, reasons.

E = routed experts, P = pairs a < b.
"""

from typing import Literal

import numpy as np
import pandas as pd

from analysis.excess import MIN_EXPECTED
from analysis.groups import NOT_ENOUGH

Null = Literal["load", "uniform"]
NEVER = "never together: no logarithm"
ZERO_LOW = "the interval reaches down to never: no lower logarithm"


def pair_table(
    tests: pd.DataFrame, *, layer_id: int, null: Null, counts: dict[str, int]
) -> pd.DataFrame:
    """pair_significance() against one null, the clearest pair first.

    layer_id, expert_a, expert_b, tokens, expected, estimate (log2 lift) with the ends low and high
    of its interval, z, p, q, the counts (n_documents, n_groups, n_tokens), reason (why something is
    empty).
    """
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
            **counts,
            "reason": missing_tests(tests, null),
        }
    )
    return _clearest_first(table)


def missing_tests(tests: pd.DataFrame, null: Null) -> pd.Series:
    """Why a pair of pair_significance() has no test against one null; empty where it has."""
    if null == "load":
        return tests.reason
    rare = f"fewer than {MIN_EXPECTED} tokens expected"  # no fit of the loads that may be missing
    why_P = pd.Series(np.where(tests.expected_uniform < MIN_EXPECTED, rare, NOT_ENOUGH))
    return why_P.where(tests.z_uniform.isna(), "")


def transition_table(tests: pd.DataFrame, *, layer_id: int, counts: dict[str, int]) -> pd.DataFrame:
    """transition_significance(), the clearest first; columns as in pair_table."""
    table = pd.DataFrame(
        {
            "layer_id": layer_id,
            "expert_id": tests.expert_id,
            "next_expert_id": tests.next_expert_id,
            "tokens": tests.tokens,
            "expected": tests.expected,
            "estimate": _log2(tests.lift),
            "low": _log2(tests.low),
            "high": _log2(tests.high),
            **{column: tests[column] for column in ("z", "p", "q")},
            **counts,
            "reason": tests.reason,
        }
    )
    return _clearest_first(table)


def _clearest_first(table: pd.DataFrame) -> pd.DataFrame:
    """With the reasons why a logarithm is empty."""
    never_P = (table.reason == "") & (table.tokens == 0)
    table["reason"] = table.reason.mask(never_P, NEVER)
    reaches_P = (table.reason == "") & table.low.isna()
    table["reason"] = table.reason.mask(reaches_P, ZERO_LOW)
    order = table.z.abs().fillna(-1).astype(float).argsort(kind="stable")
    return table.iloc[order[::-1]].reset_index(drop=True)


def _log2(lift: pd.Series) -> pd.Series:
    """Empty where the lift is unknown or 0."""
    lift_P = lift.to_numpy(float, na_value=np.nan)
    log_P = np.full(lift_P.shape, np.nan)
    np.log2(lift_P, out=log_P, where=lift_P > 0)
    return pd.Series(log_P, index=lift.index).convert_dtypes()
