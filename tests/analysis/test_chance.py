"""Rows beside chance, with numbers that can be checked in the head."""

import numpy as np
import pytest
from scipy import stats

from analysis import chance


def test_bits_per_byte_by_domain_and_over_all_bytes() -> None:
    nats_N = np.array([1.0, 3.0] * 6 + [7.0, 9.0] * 6) * np.log(2)
    bytes_N = np.array([2] * 12 + [1] * 12)
    table = chance.bits_per_byte(nats_N, bytes_N, ["code"] * 12 + ["math"] * 12)
    table = table.set_index("domain")
    assert table.estimate.tolist() == pytest.approx([24 / 24, 96 / 12, 120 / 36])
    assert table.n.tolist() == table.n_groups.tolist() == [12, 12, 24]
    assert table.low["code"] < 1 < table.high["code"] < 8
    assert table.verdict.to_dict() == {
        "code": "better than chance",
        "math": "at chance",  # 8 bits for every byte
        "all": "better than chance",
    }


def test_few_texts_have_no_interval() -> None:
    nats_N = np.tile([1.0, 2.0], 12)
    table = chance.bits_per_byte(nats_N[:21], np.ones(21), ["a"] * 12 + ["b"] * 9)
    assert table.verdict.tolist() == [
        "better than chance",
        chance.TOO_LITTLE,
        "better than chance",  # over both, 19 degrees of freedom
    ]
    assert table.low.isna().tolist() == [False, True, False]
    alone = chance.bits_per_byte(nats_N[:13], np.ones(13), ["a"] * 12 + ["b"])
    assert alone.low.isna().tolist() == [False, True, True]  # one text of b: its spread is unknown


def test_texts_of_one_group_are_one_observation() -> None:
    """24 texts, of which two each say the same."""
    nats_N, domain_N = np.repeat(np.arange(1.0, 13.0), 2), ["a"] * 24
    alone = chance.bits_per_byte(nats_N, np.ones(24), domain_N).iloc[0]
    paired = chance.bits_per_byte(nats_N, np.ones(24), domain_N, unit_N=np.arange(24) // 2 * 2)
    once = chance.bits_per_byte(np.arange(1.0, 13.0), np.ones(12), ["a"] * 12).iloc[0]
    assert (paired.n[0], paired.n_groups[0]) == (24, 12)
    assert (paired.low[0], paired.high[0]) == pytest.approx((once.low, once.high))
    assert paired.high[0] - paired.low[0] > 1.4 * (alone.high - alone.low)
    few = chance.bits_per_byte(nats_N, np.ones(24), domain_N, unit_N=np.arange(24) // 3 * 3)
    assert (few.n_groups[0], few.verdict[0]) == (8, chance.TOO_LITTLE)


def test_texts_that_are_all_alike_have_no_interval() -> None:
    table = chance.bits_per_byte(np.ones(40), np.ones(40), ["a"] * 40)
    assert table.low.isna().all()
    assert table.verdict[0] == chance.TOO_LITTLE


def test_acc_takes_the_likeliest_choice_and_acc_norm_the_likeliest_byte() -> None:
    nats_NC = [np.array([-2.0, -3.0]), np.array([-2.0, -3.0])]
    bytes_NC = [np.array([1, 3]), np.array([1, 1])]  # by bytes: -2 and -1; -2 and -3
    table = chance.accuracy(nats_NC, bytes_NC, [(1,), (0,)], ["x", "x"]).set_index("metric")
    assert table.estimate.to_dict() == {"acc": 0.5, "acc_norm": 1.0}


def test_chance_is_the_mean_over_questions_and_counts_every_right_choice() -> None:
    nats_NC = [np.zeros(2), np.zeros(4)]
    table = chance.accuracy(nats_NC, [np.ones(2), np.ones(4)], [(0,), (2, 3)], ["x", "x"])
    assert table.chance.tolist() == [0.5, 0.5]  # 1 of 2 and 2 of 4
    assert table.estimate.tolist() == [0.5, 0.5]


def test_no_program_that_passes_is_at_chance_and_one_is_above() -> None:
    none, one = (chance.pass_rate(np.array([share, *[0.0] * 9]), ["x"] * 10) for share in (0, 1))
    assert none[["estimate", "low", "chance"]].values.tolist() == [[0, 0, 0]]
    assert none.high[0] == pytest.approx(0.278, abs=0.001)  # 1.96² / (10 + 1.96²)
    assert [*none.verdict, *one.verdict] == ["at chance", "above chance"]


def test_unlabelled_items_are_one_row() -> None:
    assert chance.pass_rate(np.ones(3), ["unlabelled"] * 3).domain.tolist() == ["all"]
    assert chance.pass_rate(np.ones(3), ["a", "unlabelled", "a"]).domain.tolist() == [
        "a",
        "unlabelled",
        "all",
    ]


def test_wilson_holds_a_rate_exactly_when_the_score_test_does_not_reject_it() -> None:
    low, high = chance.wilson_interval(np.array([1.0] * 8 + [0.0] * 12))
    for bound in (low, high):
        score = (0.4 - bound) / np.sqrt(bound * (1 - bound) / 20)
        assert abs(score) == pytest.approx(stats.norm.ppf(0.975))


@pytest.mark.slow
def test_nineteen_of_twenty_guessing_models_are_at_chance() -> None:
    rng = np.random.default_rng(0)
    verdicts = [
        chance.pass_rate(
            (rng.random(200) < 0.25).astype(float), ["x"] * 200, chance_N=np.full(200, 0.25)
        ).verdict[0]
        for _ in range(400)
    ]
    assert 0.92 < np.mean([verdict == chance.AT_CHANCE for verdict in verdicts]) < 0.98


def test_below_chance_is_said() -> None:
    table = chance.pass_rate(np.zeros(50), ["x"] * 50, chance_N=np.full(50, 0.5))
    assert table.verdict[0] == "below chance"


def test_another_tools_error_makes_the_interval_and_chance_is_not_known() -> None:
    table = chance.estimate_row("f1", 0.5, 0.1, n=7)
    assert table[["low", "high"]].values.tolist() == [pytest.approx([0.304, 0.696], abs=1e-3)]
    assert (table.n[0], table.verdict[0]) == (7, chance.UNKNOWN)
    assert chance.estimate_row("f1", 0.5, float("nan"), n=7).low.isna().all()
