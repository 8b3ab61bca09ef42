"""Parts of the trace that tests/traces.py counts by hand."""

from pathlib import Path

import numpy as np
import pytest
from duckdb import DuckDBPyConnection

from analysis import queries
from data.store import open_trace
from data.trace_part import restrict
from tests.traces import write_tiny_trace


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.duckdb"
    write_tiny_trace(path)
    return path


def loads(con: DuckDBPyConnection, layer_id: int) -> list[int]:
    frame = queries.expert_tokens(con)
    return frame[frame.layer_id == layer_id].sort_values("expert_id").tokens.tolist()


def test_some_texts_are_a_trace_of_their_own(trace: Path) -> None:
    with open_trace(trace) as con:
        restrict(con, name="math", doc_ids=np.array([0]))
        info = queries.trace_info(con)
        assert (info.num_documents, info.num_tokens, info.domains) == (1, 3, ("math",))
        assert loads(con, 0) == [3, 3, 0, 0]
        assert queries.document_k(con).doc_id.unique().tolist() == [0]
        pairs = queries.coactivation(con, 0).set_index(["expert_a", "expert_b"]).tokens
        assert (pairs[(0, 1)], pairs.sum()) == (3, 3)
        following = queries.transitions(con, 0)
        assert following.tokens.sum() == 12
        assert len(queries.document_routing(con, 0)) == 12
        assert queries.document_routing(con, 1).empty


def test_a_phase_counts_its_own_tokens_alone(trace: Path) -> None:
    """One token is generated: it chooses 0 and 1, then 1 and 3, with a loss of 4."""
    with open_trace(trace) as con:
        restrict(con, name="decode", doc_ids=np.arange(3), phase="decode")
        info = queries.trace_info(con)
        assert (info.num_documents, info.num_tokens) == (3, 1)
        assert loads(con, 0) == [1, 1, 0, 0]
        assert loads(con, 1) == [0, 1, 0, 1]
        assert queries.document_loss(con).loss.tolist() == [4.0]
        k = queries.document_k(con)
        assert (k.tokens.tolist(), k.choices.tolist()) == ([1, 1], [2, 2])
        gate = queries.document_gate(con)
        assert (gate.entropy.tolist(), gate.decisions.tolist()) == ([1.0, 0.5], [1, 1])
        pairs = queries.coactivation(con, 1)
        assert pairs[pairs.tokens > 0][["expert_a", "expert_b"]].values.tolist() == [[1, 3]]


def test_parts_add_up_to_the_whole(trace: Path) -> None:
    with open_trace(trace) as con:
        whole = queries.expert_tokens(con)
    parts = []
    for phase in ("prefill", "decode"):
        with open_trace(trace) as con:
            restrict(con, name=phase, doc_ids=np.arange(3), phase=phase)
            parts.append(queries.expert_tokens(con))
    assert (parts[0].tokens + parts[1].tokens).tolist() == whole.tokens.tolist()
    np.testing.assert_allclose(parts[0].weight_sum + parts[1].weight_sum, whole.weight_sum)


def test_a_part_of_all_texts_answers_as_the_trace_does(trace: Path) -> None:
    with open_trace(trace) as con, open_trace(trace) as other:
        restrict(other, name="all", doc_ids=np.arange(3))
        for question in (
            queries.expert_domain_tokens,
            queries.domain_k,
            queries.document_gate,
            queries.document_k,
            queries.document_loss,
            queries.domain_tokens,
            lambda con: queries.coactivation(con, 1),
            lambda con: queries.transitions(con, 0),
            lambda con: queries.document_routing(con, 2),
        ):
            assert question(con).equals(question(other))


def test_what_lies_beside_a_trace_is_not_that_of_its_part(trace: Path) -> None:
    ids = []
    for name in ("", "a", "b"):
        with open_trace(trace) as con:
            if name:
                restrict(con, name=name, doc_ids=np.array([0]))
            ids.append(queries.trace_info(con).trace_id)
    assert len(set(ids)) == 3
