"""By which rule experts are placed."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.placement.costs import gpu_loads
from analysis.placement.maps import Cluster
from analysis.placement.policies import (
    COACTIVATION,
    EPLB,
    EPLB_GLOBAL,
    GREEDY,
    IN_ORDER,
    POLICIES,
    SLACK,
    Traffic,
    known_policies,
    place,
)
from app.commands.place import Policy

FOUR = Cluster(num_experts=8, num_gpus=4)


def traffic(seed: int, experts: int = 8) -> Traffic:
    rng = np.random.default_rng(seed)
    pairs_EE = rng.integers(0, 50, (experts, experts))
    pairs_EE = np.triu(pairs_EE, 1) + np.triu(pairs_EE, 1).T
    return Traffic(rng.integers(1, 100, (1, experts)).astype(float), [pairs_EE].__getitem__)


def largest(policy: str, of: Traffic, cluster: Cluster) -> float:
    return float(gpu_loads(of.tokens_LE, place(policy, of, cluster)).max())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), redundant=st.sampled_from([0, 4, 8]))
def test_swaps_never_make_the_busiest_gpu_busier(seed: int, redundant: int) -> None:
    cluster = Cluster(num_experts=8, num_gpus=4, num_redundant=redundant)
    of = traffic(seed)
    assert largest(GREEDY, of, cluster) <= largest(EPLB_GLOBAL, of, cluster) * (1 + 1e-6)
    bound = max(largest(GREEDY, of, cluster), SLACK * of.tokens_LE.sum() / 4)
    assert largest(COACTIVATION, of, cluster) <= bound * (1 + 1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_greedy_is_near_the_best_there_is(seed: int) -> None:
    """Of all ways to put six experts onto two GPUs."""
    of, cluster = traffic(seed, 6), Cluster(num_experts=6, num_gpus=2)
    tokens_E = of.tokens_LE[0]
    best = min(
        max(tokens_E[list(one)].sum(), tokens_E.sum() - tokens_E[list(one)].sum())
        for one in combinations(range(6), 3)
    )
    assert best - 1e-3 <= largest(GREEDY, of, cluster) <= 1.15 * best


def test_swaps_find_what_packing_misses() -> None:
    """From the heaviest on: 9 + 7 + 7 beside 9 + 7 + 3. 7 and 3 swapped with 9: 9 + 9 + 3."""
    of = Traffic(np.array([[9.0, 9, 7, 7, 7, 3]]), None)
    cluster = Cluster(num_experts=6, num_gpus=2)
    assert largest(EPLB_GLOBAL, of, cluster) == 23
    assert largest(GREEDY, of, cluster) == 21


def test_what_is_chosen_together_lies_together() -> None:
    pairs_EE = np.zeros((8, 8))
    for one, other in ((0, 4), (1, 5), (2, 6), (3, 7)):
        pairs_EE[one, other] = pairs_EE[other, one] = 10
    plan = place(COACTIVATION, Traffic(np.ones((1, 8)), [pairs_EE].__getitem__), FOUR)
    held = {frozenset(gpu_S.tolist()) for gpu_S in plan.by_gpu[0]}
    assert held == {frozenset(pair) for pair in ((0, 4), (1, 5), (2, 6), (3, 7))}


def test_a_full_gpu_is_not_filled_for_the_sake_of_traffic() -> None:
    pairs_EE = np.zeros((4, 4))
    pairs_EE[0, 1] = pairs_EE[1, 0] = 1000  # the two busiest
    of = Traffic(np.array([[10.0, 10.0, 1.0, 1.0]]), [pairs_EE].__getitem__)
    plan = place(COACTIVATION, of, Cluster(num_experts=4, num_gpus=2))
    assert gpu_loads(of.tokens_LE, plan).tolist() == [[11.0, 11.0]]


def test_copies_avoid_each_other() -> None:
    of = Traffic(np.array([[9.0, 1.0, 1.0]]), [np.full((3, 3), 5)].__getitem__)
    plan = place(COACTIVATION, of, Cluster(num_experts=3, num_gpus=2, num_redundant=1))
    assert all(len(set(gpu_S.tolist())) == 2 for gpu_S in plan.by_gpu[0])


def test_pairs_of_two_gpus_share_a_node() -> None:
    pairs_EE = np.zeros((4, 4))
    pairs_EE[0, 3] = pairs_EE[3, 0] = pairs_EE[1, 2] = pairs_EE[2, 1] = 5
    cluster = Cluster(num_experts=4, num_gpus=4, num_nodes=2)
    plan = place(COACTIVATION, Traffic(np.ones((1, 4)), [pairs_EE].__getitem__), cluster)
    nodes = {frozenset(node_P) for node_P in plan.experts_LP.reshape(2, 2).tolist()}
    assert nodes == {frozenset({0, 3}), frozenset({1, 2})}


def test_what_is_unknown_or_no_policy_is_refused() -> None:
    of = Traffic(np.ones((1, 8)), None)
    with pytest.raises(ValueError, match="no single choice is known"):
        place(COACTIVATION, of, FOUR)
    with pytest.raises(ValueError, match=r"no policy 'best'; give one of in-order, greedy, eplb, "):
        place("best", of, FOUR)


def test_policies_that_are_the_same_stand_once() -> None:
    assert known_policies(FOUR, pairs_known=False) == [IN_ORDER, GREEDY, EPLB]
    nodes = Cluster(num_experts=8, num_gpus=4, num_nodes=2, num_groups=2)
    assert known_policies(nodes, pairs_known=True) == list(POLICIES)


def test_the_command_knows_every_policy() -> None:
    assert tuple(policy.value for policy in Policy) == POLICIES


@pytest.mark.parametrize("policy", POLICIES)
def test_one_expert_on_one_gpu_and_as_many_gpus_as_places(policy: str) -> None:
    one = Traffic(np.ones((2, 1)), lambda layer_id: np.zeros((1, 1)))
    plan = place(policy, one, Cluster(num_experts=1, num_gpus=2, num_redundant=1))
    assert plan.experts_LP.tolist() == [[0, 0], [0, 0]]
