"""EPLB: its published example, and what holds for every load."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.placement.costs import gpu_loads
from analysis.placement.eplb import balanced_packing, rebalance_experts, replicate_experts
from analysis.placement.maps import Cluster, counts_by_row

PUBLISHED = np.array(
    [
        [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
        [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]
)
CLUSTER = Cluster(num_experts=12, num_gpus=8, num_nodes=2, num_redundant=4, num_groups=4)


def test_the_published_example() -> None:
    plan = rebalance_experts(PUBLISHED, CLUSTER)
    assert plan.experts_LP.tolist() == [
        [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
        [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
    ]
    assert plan.copies.tolist() == [
        [1, 2, 1, 1, 2, 2, 1, 1, 1, 1, 2, 1],
        [1, 2, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1],
    ]
    places_LER = plan.places()
    assert places_LER.shape == (2, 12, 2)
    assert places_LER[0, :3].tolist() == [[12, -1], [13, 15], [11, -1]]


def test_the_busiest_expert_is_copied_first() -> None:
    expert_CP, copies_CE = replicate_experts(np.array([[9.0, 5.0, 2.0]]), 6)
    assert expert_CP.tolist() == [[0, 1, 2, 0, 1, 0]]  # 9; then 5 is above 4.5; then 4.5
    assert copies_CE.tolist() == [[3, 2, 1]]


def test_the_heaviest_goes_where_least_is() -> None:
    packing = balanced_packing(np.array([[1.0, 7.0, 5.0, 4.0]]), 2)
    assert packing.bin_CI.tolist() == [[0, 0, 1, 1]]  # 7; 5; 4 beside 5; 1 where room is left
    assert packing.rank_CI.tolist() == [[1, 0, 0, 1]]


def test_groups_that_do_not_spread_over_nodes_are_placed_globally() -> None:
    odd = Cluster(num_experts=12, num_gpus=8, num_nodes=2, num_redundant=4, num_groups=3)
    one = Cluster(num_experts=12, num_gpus=8, num_redundant=4)
    plans = [rebalance_experts(PUBLISHED, cluster).experts_LP.tolist() for cluster in (odd, one)]
    assert plans[0] == plans[1]


def test_without_any_load_every_expert_has_a_place() -> None:
    plan = rebalance_experts(np.zeros((1, 12)), CLUSTER)
    assert (plan.copies >= 1).all()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(8, 4, 2, 2), (12, 4, 1, 1), (16, 8, 4, 4), (6, 1, 1, 1), (5, 5, 5, 1)]),
    st.integers(0, 3),
    st.integers(0, 2**16),
)
def test_every_expert_has_its_copies_and_every_gpu_equally_many_places(
    shape: tuple[int, int, int, int], more: int, seed: int
) -> None:
    experts, gpus, nodes, groups = shape
    redundant = -experts % gpus + gpus * more
    cluster = Cluster(
        num_experts=experts,
        num_gpus=gpus,
        num_nodes=nodes,
        num_redundant=redundant,
        num_groups=groups,
    )
    tokens_LE = np.random.default_rng(seed).integers(0, 100, (3, experts)).astype(float)
    plan = rebalance_experts(tokens_LE, cluster)
    assert (plan.copies >= 1).all()
    assert (plan.copies.sum(-1) == experts + redundant).all()
    assert (counts_by_row(plan.experts_LP, experts) == plan.copies).all()
    places_LER = plan.places()
    assert ((places_LER >= 0).sum(-1) == plan.copies).all()
    held = np.sort(places_LER[places_LER >= 0].reshape(3, -1), -1)
    assert (held == np.arange(experts + redundant)).all()
    np.testing.assert_allclose(gpu_loads(tokens_LE, plan).sum(-1), tokens_LE.sum(-1), rtol=1e-6)
    if cluster.is_hierarchical:  # a group lies on one node
        size = experts // groups
        for layer_P in plan.experts_LP.reshape(3, nodes, -1):
            on_nodes = [set((node_P // size).tolist()) for node_P in layer_P]
            assert sum(map(len, on_nodes)) == groups
