"""What a placement costs: by hand, against definitions, and against simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.definitions import balancedness_of_sums, mean_balancedness
from analysis.load import load_imbalance
from analysis.placement import costs
from analysis.placement.maps import Cluster, Placement, in_order, random_placement
from analysis.placement.sample import Choices

LOADS_LH = np.array([[9.0, 1.0], [4.0, 6.0]])
TWO_GPUS = Cluster(num_experts=4, num_gpus=2)


def choices_of(ids_TLK: list[list[list[int]]]) -> Choices:
    """Each token of a group of its own."""
    ids = np.array(ids_TLK)
    tokens, layers, top_k = ids.shape
    return Choices(
        expert_id_C=ids.swapaxes(0, 1).ravel().astype(np.int16),
        token_C=np.tile(np.repeat(np.arange(tokens, dtype=np.int32), top_k), layers),
        ends=[tokens * top_k * layer for layer in range(layers + 1)],
        group_T=np.arange(tokens),
        phase_T=np.zeros(tokens, np.uint8),
    )


def test_balance_by_every_name() -> None:
    assert costs.busiest_gpu(LOADS_LH) == pytest.approx((9 / 5 + 6 / 5) / 2)
    assert costs.gpu_balancedness_sglang(LOADS_LH) == pytest.approx((5 / 9 + 5 / 6) / 2)
    assert costs.gpu_balancedness_vllm(LOADS_LH) == pytest.approx(10 / 15)
    assert costs.gpu_balancedness_vllm_before_fix(LOADS_LH) == pytest.approx((6.5 + 3.5) / (9 + 6))


def test_what_vllm_logged_before_its_fix_is_no_balance_of_gpus() -> None:
    always = np.array([[9.0, 1.0], [9.0, 1.0]])
    assert costs.gpu_balancedness_vllm_before_fix(always) == 1
    assert costs.gpu_balancedness_vllm(always) == pytest.approx(5 / 9)


def test_where_every_expert_is_a_gpu_balance_is_that_of_experts() -> None:
    tokens_LE = np.array([[4.0, 0.0, 2.0], [6.0, 6.0, 3.0]])
    load_LH = costs.gpu_loads(tokens_LE, in_order(Cluster(num_experts=3, num_gpus=3), 2))
    np.testing.assert_allclose(load_LH, tokens_LE)
    assert costs.gpu_balancedness_sglang(load_LH) == pytest.approx(mean_balancedness(tokens_LE))
    assert costs.gpu_balancedness_vllm(load_LH) == pytest.approx(balancedness_of_sums(tokens_LE))
    assert costs.busiest_gpu(load_LH) == pytest.approx(load_imbalance(tokens_LE).mean())


def test_a_layer_without_tokens_counts_for_nothing() -> None:
    with_idle_LH = np.vstack([LOADS_LH, [[0.0, 0.0]]])
    assert costs.busiest_gpu(with_idle_LH) == costs.busiest_gpu(LOADS_LH)
    by_sglang = (2 * costs.gpu_balancedness_sglang(LOADS_LH) + 1) / 3  # but there as balanced
    assert costs.gpu_balancedness_sglang(with_idle_LH) == pytest.approx(by_sglang)
    assert costs.gpu_balancedness_vllm(with_idle_LH) == costs.gpu_balancedness_vllm(LOADS_LH)


def test_one_token_reads_what_it_chose_and_a_large_batch_everything() -> None:
    tokens_LE = np.array([[10.0, 5.0, 5.0, 0.0]])  # of 10 tokens, two chosen each
    placement = in_order(TWO_GPUS, 1)
    one = costs.experts_read(tokens_LE, np.array(10.0), placement, batch=1)
    np.testing.assert_allclose(one, [[1.5, 0.5]], rtol=1e-5)
    all_that_are_chosen = costs.experts_read(tokens_LE, np.array(10.0), placement, batch=10_000)
    np.testing.assert_allclose(all_that_are_chosen, [[2, 1]], rtol=1e-5)


def test_experts_read_are_those_of_batches_drawn_at_random() -> None:
    rng = np.random.default_rng(0)
    share_E = np.array([0.9, 0.5, 0.05, 0.01])
    chosen_BTE = rng.random((4_000, 16, 4)) < share_E
    drawn_E = chosen_BTE.any(1).mean(0)
    tokens_LE = 1000 * share_E[None]
    read_LH = costs.experts_read(tokens_LE, np.array(1000.0), in_order(TWO_GPUS, 1), batch=16)
    np.testing.assert_allclose(read_LH[0], drawn_E.reshape(2, 2).sum(-1), rtol=0.02)


@pytest.mark.parametrize("batch", [1, 64, 100_000])
def test_small_shares_lose_nothing(batch: int) -> None:
    tokens_LE = np.array([[0.01, 100.0, 19_999.0, 20_001.0]], np.float32)  # of 10^6 tokens
    read_LH = costs.experts_read(
        tokens_LE, np.array(1e6), in_order(Cluster(num_experts=4, num_gpus=4), 1), batch=batch
    )
    exact_E = -np.expm1(batch * np.log1p(-tokens_LE[0].astype(float) / 1e6))
    np.testing.assert_allclose(read_LH[0], exact_E, rtol=1e-4, atol=0)


def test_routes_by_hand() -> None:
    cluster = Cluster(num_experts=4, num_gpus=4, num_nodes=2)  # an expert a GPU, two a node
    of = costs.routes(choices_of([[[0, 1]], [[0, 2]], [[3, 3]]]), in_order(cluster, 1))
    assert of.gpus_T.tolist() == [2, 2, 1]
    assert of.nodes_T.tolist() == [1, 2, 1]
    assert of.decisions_L.tolist() == [3]
    assert of.served_LHH[0].tolist() == [[2, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    nodes = costs.node_pair_traffic(
        choices_of([[[0, 1]], [[0, 2]], [[3, 3]]]), in_order(cluster, 1)
    )
    np.testing.assert_allclose(nodes, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])


def test_copies_take_their_choices_evenly() -> None:
    cluster = Cluster(num_experts=1, num_gpus=2, num_redundant=1)
    of = costs.routes(choices_of([[[0]]] * 2_000), in_order(cluster, 1))
    assert of.served_LHH[0, 0, 0] == pytest.approx(1_000, abs=100)
    assert of.served_LHH[0, 0, 1] == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_routes_agree_with_counting_one_token_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cluster = Cluster(num_experts=8, num_gpus=4, num_nodes=2)  # without copies nothing is drawn
    placement = random_placement(cluster, 2, rng)
    ids_TLK = rng.random((12, 2, 8)).argsort(-1)[..., :3]
    of = costs.routes(choices_of(ids_TLK.tolist()), placement)
    place_LE = placement.places()[..., 0]
    served_LHH = np.zeros((2, 4, 4), int)
    gpus_T, nodes_T = np.zeros(12, int), np.zeros(12, int)
    for token, layer in np.ndindex(12, 2):
        gpus = {int(place) // 2 for place in place_LE[layer, ids_TLK[token, layer]]}
        gpus_T[token] += len(gpus)
        nodes_T[token] += len({gpu // 2 for gpu in gpus})
        for one in gpus:
            for other in gpus:
                served_LHH[layer, one, other] += 1
    assert of.gpus_T.tolist() == gpus_T.tolist()
    assert of.nodes_T.tolist() == nodes_T.tolist()
    assert (of.served_LHH == served_LHH).all()


def test_pairs_are_tokens_that_chose_both() -> None:
    pairs_EE = choices_of([[[2, 2], [0, 1]], [[2, 2], [0, 1]], [[2, 2], [1, 2]]]).pairs(1, 3)
    assert pairs_EE.tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 0]]


def test_moved_places_count_copies_too() -> None:
    cluster = Cluster(num_experts=3, num_gpus=2, num_redundant=1)
    current = Placement(np.array([[0, 1, 2, 0]]), cluster)
    plan = Placement(np.array([[0, 1, 2, 1]]), cluster)
    assert costs.moved_places(plan, current).tolist() == [1]
    assert costs.moved_places(current, current).tolist() == [0]
