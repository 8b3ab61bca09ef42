import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.differences.differences import Sample, load_differences
from analysis.groups import NOT_ENOUGH
from analysis.lists.drift import ALIKE, FALSE_ALARMS, alarm_table, periods

EXPERTS_L = np.array([8, 8])


def traffic(
    rng: np.random.Generator, groups: int, *, drifted: float = 1.0, tokens: int = 100
) -> np.ndarray:
    """tokens_NLE of two layers; expert 3 of the second has so many times its usual load."""
    share_LE = np.array([[8, 4, 2, 2, 2, 2, 2, 2], [3, 3, 3, 3, 3, 3, 3, 3.0]])
    share_LE[1, 3] *= drifted
    layers = []
    for share_E in share_LE:
        share_NE = rng.dirichlet(25 * share_E / share_E.sum(), size=groups)
        layers.append(rng.multinomial(tokens, share_NE))
    return np.stack(layers, 1)


def differences(first_NLE: np.ndarray, second_NLE: np.ndarray) -> np.ndarray:
    """q of every expert [L, E]."""
    first, second = (
        Sample(tokens_NLE, np.zeros(len(tokens_NLE), int), EXPERTS_L)
        for tokens_NLE in (first_NLE, second_NLE)
    )
    return load_differences(first, second, paired=False).q.to_numpy(float).reshape(2, 8)


def raised(rng: np.random.Generator, *, drifted: float) -> np.ndarray:
    """Which experts raise an alarm in a window of 20 groups, if 100 groups are known [L, E]."""
    table = alarm_table(traffic(rng, 100), experts_L=EXPERTS_L, window=0.2)
    bounds = table[["lower_alarm", "upper_alarm"]].to_numpy()
    low_LE, high_LE = bounds.T.reshape(2, 2, 8)
    tokens_LE = traffic(rng, 20, drifted=drifted).sum(0)
    share_LE = tokens_LE / tokens_LE.sum(-1, keepdims=True)
    return (share_LE < low_LE) | (share_LE > high_LE)


def test_each_period_has_half_of_the_tokens_of_each_domain() -> None:
    size_N = np.array([10, 10, 20, 5, 5, 5, 5])
    domain_id_N = np.array([0, 0, 0, 1, 1, 1, 1])
    earlier_N, later_N = periods(size_N, domain_id_N)
    assert np.flatnonzero(earlier_N).tolist() == [0, 1, 3, 4]
    assert np.flatnonzero(later_N).tolist() == [2, 5, 6]


def test_groups_in_the_middle_make_neither_period_longer() -> None:
    """Ten domains of three equal groups each."""
    domain_id_N = np.repeat(np.arange(10), 3)
    earlier_N, later_N = periods(np.full(30, 7), domain_id_N)
    assert earlier_N.sum() == later_N.sum() == 15
    assert np.unique(domain_id_N[later_N]).tolist() == np.unique(domain_id_N[earlier_N]).tolist()


def test_a_domain_of_one_group_is_in_neither_period() -> None:
    earlier_N, later_N = periods(np.array([7, 3, 3]), np.array([0, 1, 1]))
    assert (earlier_N.tolist(), later_N.tolist()) == ([False, True, False], [False, False, True])


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9))
def test_two_groups_or_more_are_divided_in_their_order(sizes: list[int]) -> None:
    earlier_N, later_N = periods(np.array(sizes, np.int8), np.zeros(len(sizes), int))
    assert (earlier_N ^ later_N).all()
    assert earlier_N[0]
    assert later_N[-1]
    assert (np.diff(later_N.astype(int)) >= 0).all()
    assert abs(sum(np.array(sizes)[later_N]) - sum(np.array(sizes)[earlier_N])) <= max(sizes)


def test_a_planted_drift_is_found_and_no_other() -> None:
    rng = np.random.default_rng(0)
    q_LE = differences(traffic(rng, 60), traffic(rng, 60, drifted=3.0))
    assert q_LE[1, 3] < 0.001
    assert q_LE[1].argmin() == 3  # others of its layer lose what it gains, each a seventh of it
    assert (q_LE[0] > 0.05).all()


def test_without_drift_at_most_one_list_in_twenty_names_an_expert() -> None:
    """Groups of one kind of traffic, divided between two periods at random."""
    rng = np.random.default_rng(1)
    tokens_NLE = traffic(rng, 60)
    lists, tried = 0, 200
    for _ in range(tried):
        second_N = rng.permutation(60) < 30
        lists += bool((differences(tokens_NLE[~second_N], tokens_NLE[second_N]) < 0.05).any())
    assert lists / tried <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / tried)


def test_windows_without_drift_raise_hardly_an_alarm_and_a_drift_does() -> None:
    rng = np.random.default_rng(2)
    false = [raised(rng, drifted=1.0).any() for _ in range(400)]
    assert np.mean(false) <= FALSE_ALARMS
    assert np.mean([raised(rng, drifted=4.0)[1, 3] for _ in range(50)]) > 0.9


def test_a_longer_window_has_narrower_bounds_and_all_hold_what_is_expected() -> None:
    tokens_NLE = traffic(np.random.default_rng(3), 40)
    short, long = (
        alarm_table(tokens_NLE, experts_L=EXPERTS_L, window=window) for window in (0.1, 1.0)
    )
    assert (short.upper_alarm > long.upper_alarm).all()
    assert ((long.lower_alarm < long.expected) & (long.expected < long.upper_alarm)).all()
    assert long.expected[:8].sum() == pytest.approx(1)


@pytest.mark.parametrize("part", [0.01, 0.05])
def test_an_expert_of_a_few_groups_raises_hardly_an_alarm(part: float) -> None:
    """At 1 % a third of the texts have none that chose it."""
    rng = np.random.default_rng(5)
    alarms = []
    for _ in range(200):
        known_NLE, window_NLE = (rarely(rng, groups, part) for groups in (100, 20))
        expert = alarm_table(known_NLE, experts_L=np.array([8]), window=0.2).iloc[7]
        share = window_NLE[:, 0, 7].sum() / window_NLE.sum()
        assert 0 <= expert.lower_alarm <= expert.expected < expert.upper_alarm
        alarms.append(not expert.lower_alarm <= share <= expert.upper_alarm)
    assert np.mean(alarms) <= FALSE_ALARMS


def rarely(rng: np.random.Generator, groups: int, part: float) -> np.ndarray:
    """tokens_NLE of which the last expert has some in so large a part of the groups."""
    share_NE = rng.dirichlet(np.full(7, 3), size=groups)
    of_last_N = (rng.random(groups) < part) * rng.uniform(0, 0.3, size=groups)
    share_NE = np.column_stack([share_NE * (1 - of_last_N[:, None]), of_last_N])
    return rng.multinomial(100, share_NE)[:, None]


def test_the_bound_of_an_expert_that_no_group_chose_by_hand() -> None:
    """Of 60 equal groups and 60 of the window, k that chose it lie in the window with probability
    2^-k at most: 2^-7 is below 0.05 over two ends of 2 experts, so it takes 6.3 of 60 groups."""
    tokens_NLE = np.tile(np.array([10, 0]), (60, 1, 1))
    (_, never) = alarm_table(tokens_NLE, experts_L=np.array([2]), window=1.0).to_dict("records")
    assert (never["expected"], never["lower_alarm"], never["note"]) == (0, 0, "")
    assert never["upper_alarm"] == pytest.approx(np.log2(80) / 60)


def test_where_all_groups_are_alike_there_are_no_bounds() -> None:
    table = alarm_table(np.full((40, 1, 4), 3), experts_L=np.array([4]), window=1.0)
    assert table[["lower_alarm", "upper_alarm"]].isna().to_numpy().all()
    assert (table.note == ALIKE).all()


def test_few_groups_have_no_bounds() -> None:
    table = alarm_table(traffic(np.random.default_rng(4), 5), experts_L=EXPERTS_L, window=1.0)
    assert table.lower_alarm.isna().all()
    assert (table.note == NOT_ENOUGH).all()
