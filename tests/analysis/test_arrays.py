"""What statistics take of the tiny trace of tests/traces.py: sums over groups of texts."""

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from analysis import arrays, queries
from data.counts import CountsBatch
from data.routing import Document
from data.store import TraceStore, open_trace
from tests.data.stored import as_format_3
from tests.routing_batches import description
from tests.traces import seen


def test_group_k_array_adds_up_the_experts_of_the_tokens(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    choices_NL, tokens_N, domain_id_N = arrays.group_k_array(tiny, queries.trace_info(tiny))
    assert choices_NL.tolist() == [[6, 6], [6, 6], [4, 4]]  # two experts a token
    assert tokens_N.tolist() == [3, 3, 2]
    assert domain_id_N.tolist() == [0, 1, 2]


def test_group_array_counts_choices_by_group(tiny: duckdb.DuckDBPyConnection) -> None:
    tokens_NLE, domain_id_N = arrays.group_array(tiny, queries.trace_info(tiny))
    assert tokens_NLE[:, 0].tolist() == [[3, 3, 0, 0], [0, 3, 3, 0], [2, 2, 0, 0]]
    assert tokens_NLE.dtype == "int32"
    assert domain_id_N.tolist() == [0, 1, 2]


def test_group_array_of_an_empty_trace(empty: duckdb.DuckDBPyConnection) -> None:
    tokens_NLE, domain_id_N = arrays.group_array(empty, queries.trace_info(empty))
    assert (tokens_NLE.shape, domain_id_N.shape) == ((0, 2, 4), (0,))


def test_a_group_is_one_piece_of_evidence(writable: duckdb.DuckDBPyConnection) -> None:
    tiny = writable
    tiny.execute("UPDATE file.document SET domain = 'math', \"group\" = 'a' WHERE doc_id IN (0, 2)")
    info = queries.trace_info(tiny)
    assert queries.documents(tiny).unit.tolist() == [0, 1, 0]
    tokens_NLE, domain_id_N = arrays.group_array(tiny, info)
    assert tokens_NLE[:, 0].tolist() == [[5, 5, 0, 0], [0, 3, 3, 0]]
    assert [info.domains[domain_id] for domain_id in domain_id_N] == ["math", "code"]
    choices_NL, tokens_N, _ = arrays.group_k_array(tiny, info)
    assert (choices_NL[:, 0].tolist(), tokens_N.tolist()) == ([10, 6], [5, 3])
    choices = queries.layer_choices(tiny, 0)
    chosen_TE, unit_T = arrays.choice_array(choices, 4)
    assert unit_T.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]  # the documents of a group together
    assert chosen_TE.sum(0).tolist() == [5, 8, 3, 0]
    assert queries.token_id_choices(tiny, 0).unit.is_monotonic_increasing


@pytest.mark.parametrize(("small", "dtype"), [(arrays.SMALL, "float64"), (0, "float32")])
def test_weights_of_groups_are_in_the_order_of_their_choices(
    writable: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, small: int, dtype: str
) -> None:
    monkeypatch.setattr(arrays, "SMALL", small)
    writable.execute("UPDATE file.document SET domain = 'math', \"group\" = 'a' WHERE doc_id <> 1")
    info = queries.trace_info(writable)
    weight_NLE = arrays.group_weights(writable, info)
    of_docs = queries.document_weights(writable)
    expected_NLE = np.zeros((2, info.num_layers, info.num_experts))
    place = (of_docs.doc_id == 1).astype(int), of_docs.layer_id, of_docs.expert_id
    np.add.at(expected_NLE, place, of_docs.weight_sum)
    assert weight_NLE == pytest.approx(expected_NLE)
    assert weight_NLE.dtype == dtype
    tokens_NLE, _ = arrays.group_array(writable, info)
    assert ((tokens_NLE > 0) == (weight_NLE > 0)).all()


def test_weights_that_are_not_known_are_refused(writable: duckdb.DuckDBPyConnection) -> None:
    writable.execute("UPDATE file.document_load SET weight_sum = 'NaN' WHERE doc_id = 1")
    with pytest.raises(ValueError, match="weights of the trace are unknown"):
        arrays.group_weights(writable, queries.trace_info(writable))


def test_a_group_of_which_the_first_document_is_left_out_has_its_domain(
    writable: duckdb.DuckDBPyConnection,
) -> None:
    writable.execute("UPDATE file.document SET domain = 'math', \"group\" = 'a' WHERE doc_id <> 1")
    info = queries.trace_info(writable)
    tokens_NLE, domain_id_N = arrays.group_array(writable, info, doc_ids=np.array([1, 2]))
    assert tokens_NLE[:, 0].tolist() == [[2, 2, 0, 0], [0, 3, 3, 0]]
    assert [info.domains[domain_id] for domain_id in domain_id_N] == ["math", "code"]


def test_counts_of_a_group_add_up_beyond_32_bits(tmp_path: Path) -> None:
    of_counts = replace(description(layers=1, experts=2), counts_only=True)
    documents = tuple(
        Document(doc_id=doc_id, text="", domain="math", group="a", origin="dump:1")
        for doc_id in (0, 1)
    )
    counts_NLE = np.array([[[2**31, 2**31]], [[2**31, 1]]])
    with TraceStore.create(tmp_path / "t.duckdb", of_counts) as store:
        store.write(CountsBatch(tokens_NLE=counts_NLE, documents=documents))
    with open_trace(tmp_path / "t.duckdb") as con:
        info = queries.trace_info(con)
        assert arrays.group_array(con, info)[0].tolist() == [[[2**32, 2**31 + 1]]]
        assert arrays.document_array(con, info)[0].tolist() == counts_NLE.tolist()


def test_a_large_doc_id_takes_no_memory(writable: duckdb.DuckDBPyConnection) -> None:
    for table in ("document", "document_size", "document_load"):
        writable.execute(f"UPDATE file.{table} SET doc_id = 30000000 WHERE doc_id = 2")
    tracemalloc.start()
    tokens_NLE, _ = arrays.group_array(writable, queries.trace_info(writable))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tokens_NLE[:, 0].tolist() == [[3, 3, 0, 0], [0, 3, 3, 0], [2, 2, 0, 0]]
    assert peak < 1e8  # bytes; a number for every id up to it would take 2.4e8


def test_a_trace_without_groups_has_a_group_a_document(tiny_trace: Path, tmp_path: Path) -> None:
    with seen(as_format_3(Path(shutil.copy(tiny_trace, tmp_path)))) as con:
        frame = queries.documents(con)
    assert frame["group"].isna().all()
    assert frame.unit.tolist() == frame.doc_id.tolist() == [0, 1, 2]


def test_of_a_long_trace_a_sample_of_whole_documents_is_read(
    tiny: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = queries.trace_info(tiny)
    assert arrays.layer_sample(tiny, info, 0).doc_id.nunique() == 3
    monkeypatch.setattr(arrays, "MAX_TOKENS", 6)  # of 8, so two of three documents
    first, second = (arrays.layer_sample(tiny, info, layer) for layer in (0, 1))
    assert first.doc_id.nunique() == 2
    assert set(first.doc_id) == set(second.doc_id)
    whole = queries.layer_choices(tiny, 0)
    assert len(first) == whole.doc_id.isin(first.doc_id).sum()
    monkeypatch.setattr(arrays, "MAX_TOKENS", 1)
    assert arrays.layer_sample(tiny, info, 0).doc_id.nunique() == 1
