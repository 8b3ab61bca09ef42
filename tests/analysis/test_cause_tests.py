"""Changes of loss of several experts, with_tests together."""

import pandas as pd
import pytest

from analysis import cause_tests, causes


def many() -> pd.DataFrame:
    given = {"low": [0.5, -1.0, 0.5, None], "high": [3.5, 5.0, 3.5, None]}
    table = pd.DataFrame({"group": ["own", "own", "others", "own"], "estimate": [2.0] * 4} | given)
    return table.astype({"low": "Float64", "high": "Float64"}).assign(n_documents=11)


def test_p_is_below_5_percent_where_the_interval_leaves_0_out() -> None:
    found = cause_tests.with_tests(many(), family="group")
    # 2 is 2 / 1.5 reaches of 2.228 standard errors away, and 2 / 3 of them
    assert found.p[:2].tolist() == pytest.approx([0.0142, 0.1683], abs=1e-3)
    assert found.p.isna().tolist() == [False, False, False, True]
    assert list(found.columns[2:6]) == ["low", "high", "p", "q"]


def test_q_is_over_the_experts_of_a_group() -> None:
    found = cause_tests.with_tests(many(), family="group")
    assert found.q[0] == pytest.approx(2 * found.p[0])  # the smaller of two
    assert found.q[2] == pytest.approx(found.p[2])  # alone


def test_an_expert_confirmed_by_its_own_intervals_may_not_be_among_many() -> None:
    names = {"layer_id": 0, "expert_id": [0] * 3 + [1] * 3, "domain": "math"}
    rows = {"group": [*causes.DECISIVE] * 2, "verdict": causes.CONFIRMED}
    table = pd.DataFrame(names | rows | {"q": [0.01, 0.02, 0.03, 0.01, 0.02, 0.06]})
    assert cause_tests.surely_confirmed(table) == 1
