from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.definitions import normalized_over_experts
from analysis.esft import selection
from analysis.lists.lists import chosen, held_out, least, listed_share, overlap, until
from data.exports.keep_list import keep_list
from tests.planted import planted
from tests.routing_batches import layer

LOADS = st.lists(st.integers(0, 9), min_size=4, max_size=4)


def alike(loads: list[int], *, groups: int = 12) -> np.ndarray:
    """tokens_NLE of groups with the same loads in one layer."""
    return np.tile(np.array(loads), (groups, 1, 1))


def test_the_least_chosen_carry_their_share_and_random_ones_their_part() -> None:
    tokens_NLE = alike([1, 2, 3, 4])
    held = held_out(tokens_NLE, np.zeros(12, int), least(np.array([2])), experts_L=np.array([4]))
    row = held.measured(np.ones(12, bool), most=False)
    assert held.listed_HLE[:, 0].tolist() == [[True, True, False, False]] * 2
    assert row["estimate"] == row["bound"] == pytest.approx(3 / 10)
    assert row["chance"] == pytest.approx(2 / 4)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32])
def test_a_narrow_type_of_counts_changes_nothing(kind: type) -> None:
    """One layer adds up to more than an int8 holds, all groups to more than an int16."""
    counts_NLE = alike([90, 100, 110, 120], groups=200)
    rows = []
    for tokens_NLE in (counts_NLE, counts_NLE.astype(kind)):
        of = tokens_NLE, np.zeros(200, int), least(np.array([1]))
        held = held_out(*of, experts_L=np.array([4]))
        rows.append(held.measured(np.ones(200, bool), most=False))
    assert rows[0] == pytest.approx(rows[1], nan_ok=True)
    assert rows[1]["estimate"] == pytest.approx(300 / 420)


def test_a_group_is_never_measured_with_the_list_that_it_chose() -> None:
    """Each group alone uses an expert of its own: no list of others knows it."""
    tokens_NLE = np.eye(20, dtype=int)[:, None] + 0
    held = held_out(tokens_NLE, np.zeros(20, int), until(0.999), experts_L=np.array([20]))
    assert held.listed_HLE.sum(-1).tolist() == [[10], [10]]
    row = held.measured(np.ones(20, bool), most=True)
    assert row["estimate"] == 0
    assert row["bound"] == 1
    assert row["chance"] == pytest.approx(10 / 20)
    assert held.agreement() == (0.0, pytest.approx(10 * 10 / 20 / 10))


def test_a_domain_is_measured_by_its_own_groups() -> None:
    tokens_NLE = np.concatenate([alike([6, 2, 1, 1]), alike([0, 0, 5, 5])])
    domain_id_N = np.repeat([0, 1], 12)
    held = held_out(
        tokens_NLE,
        domain_id_N,
        until(0.5),
        experts_L=np.array([4]),
        choosing_N=domain_id_N == 0,
    )
    assert held.listed_HLE[:, 0].tolist() == [[True, False, False, False]] * 2
    own, other = (held.measured(domain_id_N == domain_id, most=None) for domain_id in (0, 1))
    assert (own["estimate"], other["estimate"]) == (pytest.approx(0.6), 0.0)
    assert np.isnan(own["bound"])


def test_a_planted_specialist_is_a_target_of_its_domain_alone() -> None:
    tokens_NLE, domain_id_N = planted(lift=6.0)
    experts_L = np.array([8])
    held = held_out(
        tokens_NLE, domain_id_N, until(0.2), experts_L=experts_L, choosing_N=domain_id_N == 1
    )
    assert held.listed_HLE[:, 0, 5].all()
    code, math = (held.measured(domain_id_N == place, most=None) for place in (1, 0))
    assert code["low"] > 3 * code["chance"]
    assert math["high"] < 1.5 * math["chance"]
    of_code = tokens_NLE[domain_id_N == 1], np.zeros(30, int), until(0.2)
    share_LE = listed_share(*of_code, experts_L=experts_L)
    assert share_LE[0, 5] == 1
    assert np.delete(share_LE[0], 5).max() < 0.1


def test_a_list_of_noise_carries_what_chance_does_where_it_is_measured() -> None:
    """In-sample the least chosen carry less: that is what holding out prevents."""
    rng = np.random.default_rng(0)
    tokens_NLE = rng.multinomial(40, np.full(32, 1 / 32), size=40)[:, None]
    choose = least(np.array([24]))
    held = held_out(tokens_NLE, np.zeros(40, int), choose, experts_L=np.array([32]))
    row = held.measured(np.ones(40, bool), most=False)
    tokens_LE = tokens_NLE.sum(0)
    listed_LE = chosen(tokens_LE, choose, experts_L=np.array([32]))
    assert tokens_LE[listed_LE].sum() / tokens_LE.sum() < 0.21
    assert row["low"] < row["chance"] < row["high"]


def test_a_single_group_is_measured_with_its_own_list_and_others_with_it_too() -> None:
    tokens_NLE = np.array([[[6, 2, 1, 1]], [[0, 5, 5, 0]], [[0, 5, 5, 0]]])
    domain_id_N = np.array([0, 1, 1])
    held = held_out(
        tokens_NLE,
        domain_id_N,
        until(0.5),
        experts_L=np.array([4]),
        choosing_N=domain_id_N == 0,
    )
    assert not held.by_others
    assert held.listed_HLE.tolist() == [[[True, False, False, False]]]
    own, other = (held.measured(domain_id_N == place, most=True) for place in (0, 1))
    assert (own["estimate"], own["chance"], other["estimate"]) == (0.6, 0.25, 0.0)
    assert np.isnan([own["low"], own["bound"], *held.agreement()]).all()


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_few_groups_do_not_say_how_surely_an_expert_is_listed(groups: int) -> None:
    of = alike([1, 2, 3, 4], groups=groups), np.zeros(groups, int), least(np.array([2]))
    assert np.isnan(listed_share(*of, experts_L=np.array([4]))).all()


def test_domains_of_one_group_each_are_divided_all_the_same() -> None:
    held = held_out(
        alike([1, 2, 3, 4], groups=2), np.arange(2), until(0.4), experts_L=np.array([4])
    )
    assert held.measured(np.ones(2, bool), most=True)["estimate"] == pytest.approx(0.4)


def test_a_layer_without_choices_and_places_that_are_no_expert_are_on_no_list() -> None:
    tokens_NLE = np.zeros((12, 2, 4), int)
    tokens_NLE[:, 1, :2] = (3, 1)
    of = tokens_NLE, np.zeros(12, int), least(np.array([1, 1]))
    experts_L = np.array([4, 2])
    listed_LE = chosen(tokens_NLE.sum(0), of[2], experts_L=experts_L)
    assert listed_LE.tolist() == [[False] * 4, [False, True, False, False]]
    share_LE = listed_share(*of, experts_L=experts_L)
    assert np.isnan(share_LE[0]).all()
    assert share_LE[1, :2].tolist() == [0, 1]
    assert np.isnan(share_LE[1, 2:]).all()


@given(st.lists(LOADS, min_size=1, max_size=3), st.integers(1, 4))
def test_the_experts_that_stay_are_those_of_the_keep_list(
    loads: list[list[int]], keep: int
) -> None:
    tokens_LE = np.array(loads) + np.eye(len(loads), 4, dtype=int)  # no layer is without choices
    layers = [layer(f"layers.{place}", 4) for place in range(len(loads))]
    experts_L = np.full(len(loads), 4)
    listed_LE = chosen(tokens_LE, least(np.full(len(loads), keep)), experts_L=experts_L)
    kept = {str(place): np.flatnonzero(~row).tolist() for place, row in enumerate(listed_LE)}
    assert kept == keep_list(layers, tokens_LE, keep)


@given(LOADS, st.floats(0.01, 1))
def test_targets_are_those_that_esft_selects(loads: list[int], top_p: float) -> None:
    tokens_LE = np.array([loads]) + np.eye(1, 4, dtype=int)
    for amount_LE in (tokens_LE, tokens_LE * 0.3):  # weights need not add up to 1
        score_LE = normalized_over_experts(amount_LE)
        expected = selection(score_LE, [layer("layers.0", 4)], top_p=top_p)[0]
        listed_LE = chosen(amount_LE, until(top_p), experts_L=np.array([4]))
        assert np.flatnonzero(listed_LE[0]).tolist() == sorted(expected.tolist())


@given(LOADS, st.integers(0, 4))
def test_no_list_of_the_size_does_better_than_the_bound(loads: list[int], keep: int) -> None:
    tokens_NLE = alike([load + 1 for load in loads])
    held = held_out(tokens_NLE, np.zeros(12, int), least(np.array([keep])), experts_L=np.array([4]))
    row = held.measured(np.ones(12, bool), most=False)
    shares = [sum(of) / tokens_NLE[0].sum() for of in combinations(tokens_NLE[0, 0], 4 - keep)]
    assert row["bound"] == pytest.approx(min(shares))
    assert row["chance"] == pytest.approx(np.mean(shares))


def test_two_lists_have_in_common_what_both_hold() -> None:
    first_LE, second_LE = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 1]], bool)
    assert overlap(first_LE, second_LE, np.array([4])) == (2 / 5, pytest.approx(2 * 3 / 4 / 2.5))
    assert np.isnan(overlap(first_LE & False, second_LE & False, np.array([4]))).all()
