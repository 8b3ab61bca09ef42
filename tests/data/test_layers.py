"""Layers that differ in experts and in k, tokens without any expert, and special tokens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.routing import MIXED, NO_EXPERT, RoutingBatch, concatenated, take_rows
from data.store import TraceStore, open_trace
from data.trace_format import stored_layers
from tests.data.stored import as_format_3, rows
from tests.routing_batches import batch_of, description, layer
from tests.traces import write_tiny_trace

LAYERS = (layer("a.0", 4, top_k=2), layer("a.1", 8, top_k=1), layer("a.2", 6, top_k=None))
IDS_TLK = [[[3, 0], [7, NO_EXPERT], [5, 1]], [[0, 1], [2, NO_EXPERT], [NO_EXPERT, NO_EXPERT]]]


def write(path: Path, batch: RoutingBatch, *, then: type[BaseException] | None = None) -> Path:
    with TraceStore.create(path, replace(description(), layers=LAYERS)) as store:
        store.write(batch)
        if then is not None:
            raise then
    return path


def test_a_trace_holds_the_experts_that_each_layer_has(tmp_path: Path) -> None:
    path = write(tmp_path / "t.duckdb", batch_of([0, 0], IDS_TLK))
    counted = "SELECT layer_id, count(*), max(expert_id) FROM expert GROUP BY ALL ORDER BY ALL"
    assert rows(path, counted) == [(0, 4, 3), (1, 8, 7), (2, 6, 5)]
    assert rows(path, "SELECT num_layers, num_experts, top_k, scoring FROM trace") == [
        (3, 8, None, "softmax")
    ]
    with open_trace(path) as con:
        assert stored_layers(con) == LAYERS


def test_a_token_without_experts_in_a_layer_has_k_0(tmp_path: Path) -> None:
    path = write(tmp_path / "t.duckdb", batch_of([0, 0], IDS_TLK))
    assert rows(path, "SELECT layer_id, k, tokens FROM document_k ORDER BY ALL") == [
        (0, 2, 2),
        (1, 1, 2),
        (2, 0, 1),
        (2, 2, 1),
    ]


@pytest.mark.parametrize(
    ("ids_LK", "message"),
    [
        ([[4, 0], [7, NO_EXPERT], [5, 1]], "expert ids from 0 to 4 in layer 0, a.0, of 4 experts"),
        ([[3, 0], [7, NO_EXPERT], [6, 1]], "expert ids from 1 to 6 in layer 2, a.2, of 6 experts"),
        ([[3, 0], [7, 1], [5, 1]], "2 to 2 choices a token in layer 1, a.1, whose top_k is 1"),
    ],
)
def test_what_a_layer_cannot_have_chosen_is_refused(
    tmp_path: Path, ids_LK: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "t.duckdb", batch_of([0], [ids_LK]))


def test_the_entropy_of_a_layer_is_at_most_that_of_its_own_experts(tmp_path: Path) -> None:
    batch = batch_of([0], [IDS_TLK[0]])
    high = replace(batch, entropy_TL=np.array([[1.5, 1.5, 1.5]], np.float32))  # ln 4 is 1.386
    with pytest.raises(ValueError, match=r"to 1\.5 in layer 0, a\.0; in nats .* ln 4"):
        write(tmp_path / "t.duckdb", high)


def test_a_capture_of_other_layers_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(KeyError):
        write(path, batch_of([0, 0], IDS_TLK), then=KeyError)
    others = (*LAYERS[:2], replace(LAYERS[2], weighting="scores, times 16"))
    with pytest.raises(ValueError, match=r"layer 2, a\.2: weighting \(scores, now scores, times"):
        TraceStore.resume(path, replace(description(), layers=others))
    with TraceStore.resume(path, replace(description(), layers=LAYERS)) as store:
        assert store.stored_doc_ids() == {0}


def test_layers_need_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="names of its layers are 'a', 'a'; give every MoE layer"):
        replace(description(), layers=(layer("a", 4), layer("a", 4)))


def test_a_trace_of_layers_with_different_scores_is_mixed() -> None:
    layers = (layer("a", 4), replace(layer("b", 4), scoring="sigmoid", num_shared_experts=3))
    row = replace(description(), layers=layers).row()
    assert (row["scoring"], row["num_shared_experts"], row["top_k"]) == (MIXED, 3, 2)


def test_an_older_trace_says_the_same_of_all_layers(tmp_path: Path) -> None:
    write_tiny_trace(tmp_path / "t.duckdb")
    with open_trace(as_format_3(tmp_path / "t.duckdb")) as con:
        first, second = stored_layers(con)
    assert (first.name, second.name) == ("layer 0", "layer 1")
    assert (second.num_experts, second.top_k, second.scoring) == (4, 2, "softmax")
    assert second.weighting == second.selection == "unknown"


def test_special_tokens_keep_their_names_with_their_rows(tmp_path: Path) -> None:
    start = replace(batch_of([0], [IDS_TLK[0]]), special_T=["<s>"], token_text_T=[""])
    both = concatenated([batch_of([1], [IDS_TLK[1]]), start])
    assert both.special_T == [None, "<s>"]
    assert take_rows(both, np.array([1])).special_T == ["<s>"]
    assert take_rows(batch_of([1], [IDS_TLK[1]]), np.array([0])).special_T is None
    path = write(tmp_path / "t.duckdb", both)
    stored = rows(path, "SELECT doc_id, text, special FROM token ORDER BY doc_id")
    assert stored == [(0, "", "<s>"), (1, "t0", None)]
    with pytest.raises(ValueError, match="special_T has 1 rows, routing 2"):
        replace(both, special_T=[None])
