"""What statistics take of the tiny trace of tests/traces.py: sums over groups of texts."""

import shutil
from pathlib import Path

import duckdb
import pytest

from analysis import arrays, queries
from tests.data.stored import as_format_3
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
