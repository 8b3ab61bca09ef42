"""Changes of loss small enough to divide in the head."""

import numpy as np
import pytest

from analysis import causes

OWN_N = np.array([1] * 6 + [0] * 6, bool)
TOKENS_N = np.full(12, 10)


def row(own: float, other: float, control: float) -> dict[str, object]:
    noise_N = np.tile([-0.1, 0.1], 6)
    change_N = np.where(OWN_N, own, other) * TOKENS_N + noise_N
    control_CN = np.stack([np.full(12, 2 * control * 10), np.zeros(12)])
    return causes.cause_row(change_N, control_CN, TOKENS_N, OWN_N)


def test_the_changes_are_nats_per_token_and_controls_are_averaged():
    found = row(0.5, 0.1, 0.2)
    assert found["own"] == pytest.approx(0.5)
    assert found["other"] == pytest.approx(0.1)
    assert found["control"] == pytest.approx(0.2)
    assert found["own_minus_other"] == pytest.approx(0.4)
    assert found["own_minus_control"] == pytest.approx(0.3)
    assert (found["n_documents"], found["n_tokens"]) == (6, 60)


@pytest.mark.parametrize(
    ("own", "other", "control", "expected"),
    [
        (0.5, 0.1, 0.2, causes.CONFIRMED),
        (0.5, 0.5, 0.2, causes.NOT_CONFIRMED),  # hurts every domain alike
        (0.5, 0.1, 0.6, causes.NOT_CONFIRMED),  # as any expert of its load would
        (-0.5, -0.6, -0.6, causes.NOT_CONFIRMED),  # helps
    ],
)
def test_verdict(own, other, control, expected):
    if own == other:
        other += 0.05  # clearly above
    assert row(own, other, control)["verdict"] == expected


def test_few_documents_have_no_interval():
    keep_N = np.arange(12) >= 3
    found = causes.cause_row(np.ones(9), np.zeros((1, 9)), TOKENS_N[keep_N], OWN_N[keep_N])
    assert found["own_low"] is None
    assert found["verdict"] == causes.TOO_LITTLE


def test_an_interval_too_wide_is_too_little_data():
    change_N = np.where(OWN_N, np.tile([-9.0, 10.0], 6), 0)
    found = causes.cause_row(change_N, np.zeros((1, 12)), TOKENS_N, OWN_N)
    assert found["verdict"] == causes.TOO_LITTLE


def test_controls_are_near_in_load_and_neither_dead_nor_excluded():
    load_E = np.array([50, 51, 52, 0, 49, 48, 900, 47])
    found = causes.matched_controls(load_E, 0, excluded={1})
    assert len(found) == causes.CONTROLS
    assert not {0, 1, 3} & set(found)
    assert found == causes.matched_controls(load_E, 0, excluded={1})


def test_domain_changes_by_hand():
    table = causes.domain_changes(
        np.array([2.0, 4, 6, 8, 10, 3]), np.array([10] * 6), np.array([0] * 5 + [1]), ["a", "b"]
    )
    assert table.estimate.tolist() == pytest.approx([0.6, 0.3])  # 30 / 50, 3 / 10
    assert table.low[0] < 0.6 < table.high[0]
    assert table.low.isna().tolist() == [False, True]
