"""Rollups against a direct count of the routing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import tally
from data.rollups import PairCounts, document_k_table, document_load_table
from data.routing import NO_EXPERT
from data.store import TraceStore
from tests.data.stored import rows
from tests.routing_batches import batch_of, description


def test_rollups_of_two_documents(trace: Path) -> None:
    load = rows(
        trace, "SELECT doc_id, layer_id, expert_id, phase, tokens, weight_sum FROM document_load"
    )
    assert load == [
        (3, 0, 0, 0, 2, 1.5),  # once as the first choice, once as the second
        (3, 0, 1, 0, 2, 1.5),
        (3, 1, 0, 0, 1, 0.5),
        (3, 1, 2, 0, 2, 2.0),
        (3, 1, 3, 0, 1, 0.5),
        (4, 0, 0, 0, 1, 1.0),
        (4, 0, 3, 0, 1, 0.5),
        (4, 1, 1, 0, 1, 1.0),
        (4, 1, 2, 0, 1, 0.5),
    ]
    pairs = rows(trace, "SELECT layer_id, expert_a, expert_b, tokens FROM coactivation")
    assert pairs == [(0, 0, 1, 2), (0, 0, 3, 1), (1, 0, 2, 1), (1, 1, 2, 1), (1, 2, 3, 1)]
    follows = rows(
        trace, "SELECT expert_id, next_expert_id, tokens FROM transition WHERE expert_id = 0"
    )
    assert follows == [(0, 0, 1), (0, 1, 1), (0, 2, 3), (0, 3, 1)]


@st.composite
def routings(draw: st.DrawFn) -> np.ndarray:
    """expert_ids_TLK, distinct within a token, the last choices possibly not made."""
    tokens, layers = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    experts, top_k = 5, draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids_TLK = rng.random((tokens, layers, experts)).argsort(-1)[..., :top_k].astype(np.int16)
    made_TL = rng.integers(0, top_k + 1, (tokens, layers)) if draw(st.booleans()) else top_k
    ids_TLK[np.arange(top_k) >= np.broadcast_to(made_TL, (tokens, layers))[..., None]] = NO_EXPERT
    return ids_TLK


def chosen(ids_K: np.ndarray) -> list[int]:
    return [int(expert) for expert in ids_K if expert != NO_EXPERT]


@settings(deadline=None)  # the first compiles
@given(routings())
def test_pair_counts_equal_a_count_by_hand(ids_TLK: np.ndarray) -> None:
    _, layers, _ = ids_TLK.shape
    expected_pairs = np.zeros((layers, 5, 5), int)
    expected_next = np.zeros((layers - 1, 5, 5), int)
    for ids_LK in ids_TLK:
        for layer, ids_K in enumerate(ids_LK):
            for a in chosen(ids_K):
                for b in chosen(ids_K):
                    expected_pairs[layer, a, b] += a < b
                for b in chosen(ids_LK[layer + 1]) if layer + 1 < layers else []:
                    expected_next[layer, a, b] += 1
    pairs = PairCounts.empty(num_layers=layers, num_experts=5)
    pairs.add(ids_TLK)
    assert (pairs.coactivation_LEE == expected_pairs).all()
    assert (pairs.transition_LEE == expected_next).all()


def test_pairs_are_what_products_of_choices_are() -> None:
    """Of more tokens than are counted at once, some with fewer choices and some with none."""
    rng = np.random.default_rng(3)
    ids_TLK = rng.random((tally.BLOCK + 500, 3, 40)).argsort(-1)[..., :4].astype(np.int16)
    ids_TLK[::7, 1, 2:] = NO_EXPERT
    ids_TLK[::9, 2] = NO_EXPERT
    pairs = PairCounts.empty(num_layers=3, num_experts=40)
    pairs.add(ids_TLK)
    ran_LTE = np.moveaxis((ids_TLK[..., None] == np.arange(40)).any(2), 1, 0).astype(int)
    together_LEE = np.triu(ran_LTE.transpose(0, 2, 1) @ ran_LTE, 1)
    assert together_LEE.sum() > 0
    assert (pairs.coactivation_LEE == together_LEE).all()
    assert (pairs.transition_LEE == ran_LTE[:-1].transpose(0, 2, 1) @ ran_LTE[1:]).all()


@pytest.mark.parametrize("experts", [4, 40])
def test_an_expert_chosen_twice_is_refused(experts: int) -> None:
    pairs = PairCounts.empty(num_layers=2, num_experts=experts)
    with pytest.raises(ValueError, match="an expert twice in layer 1"):
        pairs.add(np.array([[[0, 1], [3, 3]]], np.int16))


@pytest.mark.parametrize("expert", [-2, 4])
def test_an_expert_that_does_not_exist_is_counted_nowhere(expert: int) -> None:
    ids_TLK = np.array([[[0, expert]]], np.int16)
    with pytest.raises(ValueError, match="of 4 experts"):
        PairCounts.empty(num_layers=1, num_experts=4).add(ids_TLK)
    both_TLK = np.array([[[0, expert], [0, 1]]], np.int16)
    with pytest.raises(ValueError, match="of 4 experts"):  # of the layer before, what follows it
        PairCounts.empty(num_layers=2, num_experts=4).add(both_TLK, layers=range(1, 2))
    with pytest.raises(ValueError, match="of 4 experts"):
        document_load_table(batch_of([0], ids_TLK), num_experts=4)


def test_a_token_counts_under_the_number_of_experts_that_ran(tmp_path: Path) -> None:
    """Layer 0 runs 2, 1 and none of them (all were full), layer 1 always two."""
    path, none = tmp_path / "t.duckdb", NO_EXPERT
    ids_TLK = [[[0, 1], [0, 1]], [[2, none], [0, 1]], [[none, none], [0, 1]]]
    batch = batch_of([3, 3, 3], ids_TLK)
    dropped_TLK = [[[none] * 2] * 2, [[none] * 2] * 2, [[0, 1], [none] * 2]]
    batch = replace(batch, dropped_ids_TLK=np.array(dropped_TLK))
    with TraceStore.create(path, description(top_k=None)) as store:
        store.write(batch)
    found = rows(path, "SELECT doc_id, layer_id, k, tokens FROM document_k")
    assert found == [(3, 0, 0, 1), (3, 0, 1, 1), (3, 0, 2, 1), (3, 1, 2, 3)]


@settings(deadline=None)  # the first compiles
@given(routings(), st.integers(0, 12))
def test_document_k_equals_a_count_of_the_routing(ids_TLK: np.ndarray, first_document: int) -> None:
    doc_ids = [0 if row < first_document else 9 for row in range(len(ids_TLK))]
    expected: dict[tuple[int, int, int], int] = {}
    for doc_id, ids_LK in zip(doc_ids, ids_TLK, strict=True):
        for layer, ids_K in enumerate(ids_LK):
            key = (doc_id, layer, len(chosen(ids_K)))
            expected[key] = expected.get(key, 0) + 1
    found = document_k_table(batch_of(doc_ids, ids_TLK)).to_pylist()
    assert {(row["doc_id"], row["layer_id"], row["k"]): row["tokens"] for row in found} == expected
    assert len(found) == len(expected)


@settings(deadline=None)  # the first compiles
@given(routings(), st.integers(0, 12))
def test_document_load_equals_a_group_by_of_the_routing(
    ids_TLK: np.ndarray, first_document: int
) -> None:
    tokens = len(ids_TLK)
    doc_ids = [0 if row < first_document else 9 for row in range(tokens)]
    batch = batch_of(doc_ids, ids_TLK)
    batch.phase_T[:] = np.arange(tokens) % 3 == 2  # phases change within a document
    expected: dict[tuple[int, ...], list[float]] = {}
    for row, ids_LK in enumerate(ids_TLK):
        for layer, ids_K in enumerate(ids_LK):
            for rank, expert in enumerate(chosen(ids_K)):
                key = (doc_ids[row], layer, expert, int(batch.phase_T[row]))
                tally = expected.setdefault(key, [0, 0.0])
                tally[0] += 1
                tally[1] += 1 / (rank + 1)
    found: dict[tuple[int, ...], list[object]] = {}
    for row in document_load_table(batch, num_experts=5).to_pylist():
        key = (row["doc_id"], row["layer_id"], row["expert_id"], row["phase"])
        assert key not in found
        found[key] = [row["tokens"], pytest.approx(row["weight_sum"], rel=1e-6)]
    assert found == expected
