"""Maps of places to experts: what fits together, and what moves."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from analysis.placement import maps
from analysis.placement.costs import gpu_loads, moved_places
from analysis.placement.maps import Cluster, Placement, in_order, nearest_to, random_placement

TWO_GPUS = Cluster(num_experts=4, num_gpus=2)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (
            {"num_experts": 64, "num_gpus": 12},
            "give 8 or 20 redundant experts, or a number of GPUs",
        ),
        ({"num_experts": 64, "num_gpus": 8, "num_redundant": 3}, "give 0 or 8 redundant experts"),
        ({"num_experts": 4, "num_gpus": 8}, "give 4 or 12 redundant experts"),
        ({"num_experts": 64, "num_gpus": 2**31}, "GPUs; give a number of GPUs that divides 64"),
        ({"num_experts": 64, "num_gpus": 8, "num_nodes": 3}, "8 GPUs do not spread evenly over 3"),
        ({"num_experts": 64, "num_gpus": 8, "num_groups": 5}, "are not 5 groups of equal size"),
        ({"num_experts": 64, "num_gpus": 0}, "at least 1 of each"),
        ({"num_experts": 64, "num_gpus": 8, "num_redundant": -8}, "no fewer than 0 redundant"),
        ({"num_experts": 64, "num_gpus": 8, "num_redundant": 2**16}, "are more than 32,768"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cluster(**numbers)


@pytest.mark.parametrize(
    ("experts_P", "message"),
    [
        ([0, 1, 2], "a map of 3 places, and 4 were expected"),
        ([0, 1, 2, 4], "place 3 of layer 0 holds expert 4; experts are 0 to 3"),
        ([0, 1, 2, 2], "expert 3 of layer 0 has no place"),
    ],
)
def test_a_map_that_is_none_is_refused(experts_P: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Placement(np.array([experts_P]), TWO_GPUS)


def test_places_lie_on_gpus_and_gpus_on_nodes_in_order() -> None:
    cluster = Cluster(num_experts=6, num_gpus=4, num_nodes=2, num_redundant=2)
    assert cluster.gpu_of_places.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert cluster.node_of_gpus.tolist() == [0, 0, 1, 1]
    placement = in_order(cluster, 1)
    assert placement.experts_LP.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1]]
    assert placement.copies.tolist() == [[2, 2, 1, 1, 1, 1]]
    assert placement.places()[0].tolist() == [[0, 6], [1, 7], [2, -1], [3, -1], [4, -1], [5, -1]]


def test_copies_share_the_tokens_of_their_expert() -> None:
    cluster = Cluster(num_experts=3, num_gpus=2, num_redundant=1)
    placement = Placement(np.array([[0, 1, 0, 2]]), cluster)
    assert gpu_loads(np.array([[8.0, 3.0, 1.0]]), placement).tolist() == [[7.0, 5.0]]


def test_gpus_are_numbered_so_that_experts_stay() -> None:
    current = Placement(np.array([[0, 1, 2, 3]]), TWO_GPUS)
    swapped = Placement(np.array([[3, 2, 1, 0]]), TWO_GPUS)  # the same but for the numbers
    near = nearest_to(swapped, current)
    assert near.experts_LP.tolist() == [[0, 1, 2, 3]]
    other = Placement(np.array([[3, 0, 1, 2]]), TWO_GPUS)
    assert moved_places(nearest_to(other, current), current).tolist() == [2]


@given(seed=st.integers(0, 2**16))
def test_numbering_gpus_anew_keeps_as_many_places_as_any_numbering(seed: int) -> None:
    cluster = Cluster(num_experts=4, num_gpus=4, num_nodes=2, num_redundant=8)
    rng = np.random.default_rng(seed)
    current, plan = (random_placement(cluster, 1, rng) for _ in range(2))
    near = moved_places(nearest_to(plan, current), current)[0]
    within_nodes = [
        order for order in permutations(range(4)) if {order[0], order[1]} in ({0, 1}, {2, 3})
    ]
    moved = [
        moved_places(Placement(plan.by_gpu[:, order].reshape(1, -1), cluster), current)[0]
        for order in within_nodes
    ]
    assert near == min(moved)


def test_one_gpu_a_node_needs_no_assignment_of_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def counted(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(cost.shape)
        return linear_sum_assignment(cost)

    monkeypatch.setattr(maps, "linear_sum_assignment", counted)
    cluster = Cluster(num_experts=64, num_gpus=64, num_nodes=64)
    current, plan = in_order(cluster, 1), random_placement(cluster, 1, np.random.default_rng(0))
    assert moved_places(nearest_to(plan, current), current).tolist() == [0]
    assert len(asked) <= 1 + 64


def test_maps_of_other_numbers_of_gpus_move_everything() -> None:
    current = Placement(np.array([[0, 1, 2, 3]]), Cluster(num_experts=4, num_gpus=4))
    plan = Placement(np.array([[0, 1, 2, 3]]), TWO_GPUS)
    assert nearest_to(plan, current) is plan
    assert moved_places(plan, current).tolist() == [4]


def test_a_gpu_that_gets_one_more_place_gets_one_expert() -> None:
    current = in_order(TWO_GPUS, 1)
    wider = Placement(
        np.array([[0, 1, 3, 2, 3, 0]]), Cluster(num_experts=4, num_gpus=2, num_redundant=2)
    )
    assert moved_places(wider, current).tolist() == [2]


@given(seed=st.integers(0, 2**16), nodes=st.sampled_from([1, 2, 4]))
def test_numbering_gpus_anew_changes_no_load_and_moves_no_more(seed: int, nodes: int) -> None:
    cluster = Cluster(num_experts=10, num_gpus=4, num_nodes=nodes, num_redundant=2)
    rng = np.random.default_rng(seed)
    current, plan = (random_placement(cluster, 2, rng) for _ in range(2))
    near = nearest_to(plan, current)
    tokens_LE = rng.integers(0, 9, (2, 10)).astype(float)
    before, after = (np.sort(gpu_loads(tokens_LE, one), -1) for one in (plan, near))
    np.testing.assert_allclose(before, after)
    assert (moved_places(near, current) <= moved_places(plan, current)).all()
    before, after = (np.sort(gpu_loads(tokens_LE, one.by_node()), -1) for one in (plan, near))
    np.testing.assert_allclose(before, after)
    nothing = nearest_to(near, current)
    assert (moved_places(nothing, current) == moved_places(near, current)).all()
