"""Traces of sources that count choices and name no token."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.counts import CountsBatch
from data.routing import Document
from data.store import TraceStore
from tests.data.stored import rows
from tests.routing_batches import description


def counted(tokens_NLE: object) -> CountsBatch:
    counts_NLE = np.array(tokens_NLE, np.int64)
    return CountsBatch(
        tokens_NLE=counts_NLE,
        documents=tuple(
            Document(doc_id=place, text="", origin=f"dump.pt:{place}")
            for place in range(len(counts_NLE))
        ),
    )


def test_a_source_of_counts_makes_a_trace_without_tokens(tmp_path: Path) -> None:
    """Two passes of layers of 2 experts, 2 chosen a token. The second counts 3 choices in layer 1:
    how many tokens these are is unknown."""
    path, counts = tmp_path / "t.duckdb", description(experts=2)
    with TraceStore.create(path, replace(counts, counts_only=True)) as store:
        store.write(counted([[[2, 2], [4, 0]], [[1, 1], [1, 2]]]))
    load = "SELECT doc_id, layer_id, expert_id, phase, tokens FROM document_load"
    assert rows(path, load) == [
        (0, 0, 0, 0, 2),
        (0, 0, 1, 0, 2),
        (0, 1, 0, 0, 4),
        (1, 0, 0, 0, 1),
        (1, 0, 1, 0, 1),
        (1, 1, 0, 0, 1),
        (1, 1, 1, 0, 2),
    ]
    assert rows(path, "SELECT doc_id, layer_id, k, tokens FROM document_k") == [
        (0, 0, 2, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    assert rows(path, "SELECT counts_only FROM trace") == [(True,)]
    for table in ("token", "routing", "gate", "coactivation", "transition"):
        assert rows(path, f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.parametrize(
    ("tokens_NLE", "message"),
    [
        ([[[1, 1]]], "counts of 1 layers, the trace has 2"),
        ([[[1, 1, 2], [1, 1, 0]]], "counts of 3 experts in layer 0"),
        ([[[1, -1], [0, 0]]], "counts from -1 to 1"),
        ([[[2**33, 0], [0, 0]]], "0 to 4,294,967,295 times"),
    ],
)
def test_counts_that_cannot_be_are_refused(
    tokens_NLE: object, message: str, tmp_path: Path
) -> None:
    of_counts = replace(description(experts=2), counts_only=True)
    with (
        pytest.raises(ValueError, match=message),
        TraceStore.create(tmp_path / "t.duckdb", of_counts) as store,
    ):
        store.write(counted(tokens_NLE))
    assert list(tmp_path.iterdir()) == []


def test_a_trace_has_tokens_or_counts_only(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="its description says which"),
        TraceStore.create(tmp_path / "t.duckdb", description(experts=2)) as store,
    ):
        store.write(counted([[[1, 1], [1, 1]]]))
