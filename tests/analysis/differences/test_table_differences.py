import numpy as np
import pandas as pd
import pytest

from analysis.differences.table_differences import table_difference


def table(estimate: float, low: float, high: float, *, expert: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "layer_id": [0],
            "expert_id": [expert],
            "estimate": [estimate],
            "low": [low],
            "high": [high],
        }
    )


def test_the_interval_is_made_of_both() -> None:
    """MOVER by hand: 5 - hypot(5 - 4, 3 - 1) and 5 + hypot(9 - 5, 1 - 0), less 1."""
    row = table_difference(table(1, 0, 3), table(5, 4, 9))
    assert row is not None
    assert row.estimate[0] == 4
    assert row.low[0] == pytest.approx(4 - np.hypot(1, 2))
    assert row.high[0] == pytest.approx(4 + np.hypot(4, 1))
    assert row.p[0] == pytest.approx(0.000455, rel=0.01)  # 4 is 3.5 errors of hypot(1, 2) / 1.96


def test_without_a_difference_p_is_1() -> None:
    row = table_difference(table(1, 0, 2), table(1, 0, 2))
    assert row is not None
    assert row.p[0] == 1


def test_only_rows_of_both_are_subtracted() -> None:
    assert table_difference(table(1, 0, 2), table(1, 0, 2, expert=3)) is None
    both = pd.concat([table(1, 0, 2), table(3, 2, 4, expert=3)])
    found = table_difference(both, table(1, 0, 2, expert=3))
    assert found is not None
    assert found.expert_id.tolist() == [3]


def test_tables_without_estimates_or_keys_are_not_subtracted() -> None:
    assert (
        table_difference(pd.DataFrame({"layer_id": [0]}), pd.DataFrame({"layer_id": [0]})) is None
    )
    counts = pd.DataFrame({"estimate": [1.0]})
    assert table_difference(counts, counts) is None


def test_an_unknown_interval_stays_unknown() -> None:
    row = table_difference(table(1, np.nan, np.nan), table(2, 1, 3))
    assert row is not None
    assert row.estimate[0] == 1
    assert np.isnan([row.low[0], row.high[0], row.p[0], row.q[0]]).all()


def test_what_is_subtracted_is_what_the_intervals_lie_around() -> None:
    """Few groups push up both estimates, one more than the other."""
    few, many = table(0.06, 0.01, 0.03), table(0.021, 0.019, 0.021)
    row = table_difference(few.assign(corrected=0.02), many.assign(corrected=0.02))
    assert row is not None
    assert row.estimate[0] == 0
    assert row.p[0] == 1
