"""Changes of loss small enough to divide in the head."""

import numpy as np
import pandas as pd
import pytest

from analysis import causes

OWN_N = np.array([1] * 6 + [0] * 6, bool)
TOKENS_N = np.full(12, 10)


def table(own: float, other: float, control: float) -> pd.DataFrame:
    noise_N = np.tile([-0.1, 0.1], 6)
    change_N = np.where(OWN_N, own, other) * TOKENS_N + noise_N
    control_CN = np.stack([np.full(12, 2 * control * 10), np.zeros(12)])
    return causes.cause_table(change_N, control_CN, TOKENS_N, OWN_N).set_index("group")


def test_the_changes_are_nats_per_token_and_controls_are_averaged() -> None:
    found = table(0.5, 0.1, 0.2)
    assert found.estimate.to_dict() == pytest.approx(
        {"own": 0.5, "others": 0.1, "controls": 0.2, "own - others": 0.4, "own - controls": 0.3}
    )
    assert found.n_documents.tolist() == [6, 6, 6, 12, 6]
    assert found.n_tokens.tolist() == [60, 60, 60, 120, 60]
    assert (found.low <= found.estimate).all()
    assert (found.estimate <= found.high).all()


@pytest.mark.parametrize(
    ("own", "other", "control", "expected"),
    [
        (0.5, 0.1, 0.2, causes.CONFIRMED),
        (0.5, 0.55, 0.2, causes.NOT_CONFIRMED),  # hurts the others more
        (0.5, 0.1, 0.6, causes.NOT_CONFIRMED),  # any expert of its load would hurt more
        (-0.5, -0.6, -0.6, causes.NOT_CONFIRMED),  # helps
    ],
)
def test_verdict(own: float, other: float, control: float, expected: str) -> None:
    assert set(table(own, other, control).verdict) == {expected}


def test_a_difference_smaller_than_its_noise_is_not_confirmed() -> None:
    change_N = np.where(OWN_N, np.tile([-9.0, 10.0], 6), 0)
    found = causes.cause_table(change_N, np.zeros((1, 12)), TOKENS_N, OWN_N)
    assert set(found.verdict) == {causes.NOT_CONFIRMED}


def test_few_documents_have_no_interval() -> None:
    keep_N = np.arange(12) >= 2
    found = causes.cause_table(np.ones(10), np.zeros((1, 10)), TOKENS_N[keep_N], OWN_N[keep_N])
    found = found.set_index("group")
    assert found.estimate["own"] == pytest.approx(0.1)
    assert found.low.isna().to_dict() == {
        "own": True, "others": False, "controls": True, "own - others": True, "own - controls": True
    }  # fmt: skip
    assert set(found.verdict) == {causes.TOO_LITTLE}


def test_no_other_document_has_no_figure() -> None:
    found = causes.cause_table(np.ones(6), np.zeros((1, 6)), np.full(6, 10), np.ones(6, bool))
    assert found.estimate.isna().tolist() == [False, True, False, True, False]
    assert set(found.verdict) == {causes.TOO_LITTLE}


def test_controls_are_the_closest_in_load_and_not_dead() -> None:
    load_E = np.array([50, 51, 53, 0, 46, 48, 900, 47])
    assert causes.matched_controls(load_E, 0) == [1, 5, 2, 7]
    with pytest.raises(ValueError, match="none to compare expert 1 with"):
        causes.matched_controls(np.array([0, 5, 0]), 1)


def test_domain_changes_by_hand() -> None:
    table = causes.domain_changes(
        np.array([2.0, 4, 6, 8, 10, 3]),
        np.full(6, 10),
        np.array([0] * 5 + [1]),
        domains=["a", "b"],
    )
    assert table.estimate.tolist() == pytest.approx([0.6, 0.3])  # 30 / 50, 3 / 10
    assert table.low[0] < 0.6 < table.high[0]
    assert table.low.isna().tolist() == [False, True]
