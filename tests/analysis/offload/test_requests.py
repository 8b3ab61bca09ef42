from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from analysis import document_rows, queries
from analysis.offload.requests import Requests, read_requests, two_halves
from data.connection import TraceError
from data.store import TraceStore, open_trace
from tests.cache_requests import listed
from tests.routing_batches import batch_of, description
from tests.traces import CHOICES_TLK, seen, write_choices, write_tiny_trace
from tests.uneven import write_uneven_trace


def all_requests(con: duckdb.DuckDBPyConnection) -> Requests:
    info = queries.trace_info(con)
    texts = queries.documents(con)
    return read_requests(con, info, texts.assign(domain_id=0, read=texts.tokens))


def test_a_request_is_what_a_token_chose_in_a_layer_in_the_order_of_capture(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    requests = all_requests(tiny)
    expected = [
        (token, layer, [4 * layer + expert for expert in ids_K])
        for token, ids_LK in enumerate(CHOICES_TLK)
        for layer, ids_K in enumerate(ids_LK)
    ]
    assert listed(requests) == expected
    assert requests.document_R.tolist() == [0] * 6 + [1] * 6 + [2] * 4
    assert requests.largest().tolist() == [2, 2]


def test_rows_that_are_stored_in_another_order_are_put_in_theirs(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    write_tiny_trace(path)
    con = seen(path)
    straight = listed(all_requests(con))
    con.execute("CREATE TABLE kept AS SELECT * FROM file.decision ORDER BY layer_id, position")
    con.execute("DELETE FROM file.decision")
    con.execute("INSERT INTO file.decision SELECT * FROM kept")
    assert listed(all_requests(con)) == straight


def test_only_the_documents_asked_for_are_read(tiny: duckdb.DuckDBPyConnection) -> None:
    texts = queries.documents(tiny).iloc[[0, 2]]
    texts = texts.assign(domain_id=0, read=texts.tokens)
    requests = read_requests(tiny, queries.trace_info(tiny), texts)
    assert requests.shortened == 0
    assert requests.document_R.tolist() == [0] * 6 + [1] * 4
    assert requests.unit_D.tolist() == [0, 2]


def test_a_token_that_chose_nothing_asks_for_nothing(tmp_path: Path) -> None:
    ids_TLK = np.array([[[0, 1], [-1, -1]], [[-1, -1], [-1, -1]], [[2, -1], [3, 0]]])
    write_choices(tmp_path / "t.duckdb", ids_TLK, np.zeros(3, int))
    with open_trace(tmp_path / "t.duckdb") as con:
        assert listed(all_requests(con)) == [(0, 0, [0, 1]), (1, 0, [2]), (1, 1, [7, 4])]


def test_experts_of_uneven_layers_are_numbered_one_layer_after_another(tmp_path: Path) -> None:
    write_uneven_trace(tmp_path / "t.duckdb", documents=2, balanced=True)
    with open_trace(tmp_path / "t.duckdb") as con:
        requests = all_requests(con)
    assert requests.num_experts == 18
    assert requests.largest().tolist() == [1, 2, 2]
    assert requests.expert_A.max() == 17
    assert (np.bincount(requests.expert_A) == 12).all()  # 6 choices of every text


def test_an_expert_that_the_layer_lacks_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    write_tiny_trace(path)
    con = seen(path)
    con.execute("UPDATE file.decision SET expert_ids = [0, 9] WHERE doc_id = 1")
    with pytest.raises(TraceError, match="it names an expert that it lacks; copy it again"):
        all_requests(con)


def test_the_halves_share_no_group_and_are_always_the_same(tmp_path: Path) -> None:
    write_groups(tmp_path / "t.duckdb", groups=10)
    with open_trace(tmp_path / "t.duckdb") as con:
        info = queries.trace_info(con)
        others, judging = two_halves(con, info, accesses=10**6)
        again = two_halves(con, info, accesses=10**6)
    assert not set(others.unit) & set(judging.unit)
    assert len(others) == len(judging) == 10
    assert judging.doc_id.is_monotonic_increasing
    assert again[1].equals(judging)


def test_of_a_large_trace_whole_texts_are_drawn(tmp_path: Path) -> None:
    """A text has 4 tokens of 2 layers of 2 choices: 16."""
    write_groups(tmp_path / "t.duckdb", groups=10)
    with open_trace(tmp_path / "t.duckdb") as con:
        others, judging = two_halves(con, queries.trace_info(con), accesses=50)
    assert len(others) == len(judging) == 3  # 12 tokens hold 48


def test_a_text_that_is_larger_than_what_is_read_is_left_out(tmp_path: Path) -> None:
    write_lengths(tmp_path / "t.duckdb", 4, 100, 4, 100, 4, 100, 4, 100)
    with open_trace(tmp_path / "t.duckdb") as con:
        info = queries.trace_info(con)
        halves = two_halves(con, info, accesses=200)  # 50 tokens
        requests = read_requests(con, info, halves[1])
    for half in halves:
        assert set(half.tokens) == {4}
    assert requests.shortened == 0


def test_where_every_text_is_too_large_their_beginnings_are_read(tmp_path: Path) -> None:
    write_lengths(tmp_path / "t.duckdb", *[100] * 8)
    with open_trace(tmp_path / "t.duckdb") as con:
        info = queries.trace_info(con)
        others, judging = two_halves(con, info, accesses=200)
        requests = read_requests(con, info, judging)
        whole = all_requests(con)
    assert len(others) == len(judging) == requests.shortened == 4
    assert requests.num_tokens == 48  # the first 12 of each
    assert whole.num_tokens == 800
    first = judging.doc_id.iloc[0]
    of_first = np.repeat(whole.document_R, np.diff(whole.start_R1)) == first
    assert requests.expert_A[:48].tolist() == whole.expert_A[of_first][:48].tolist()


def test_one_query_reads_any_number_of_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lengths(tmp_path / "t.duckdb", *[2] * 40)
    asked, of = [], document_rows.choice_lists_of

    def noted(con: duckdb.DuckDBPyConnection, doc_ids: Sequence[int]) -> Iterator[pa.RecordBatch]:
        asked.append(len(doc_ids))
        return of(con, doc_ids)

    monkeypatch.setattr(document_rows, "choice_lists_of", noted)
    with open_trace(tmp_path / "t.duckdb") as con:
        texts = queries.documents(con).iloc[::8]
        texts = texts.assign(domain_id=0, read=texts.tokens)
        requests = read_requests(con, queries.trace_info(con), texts)
    assert asked == [5]
    assert requests.num_tokens == 10


def test_a_single_group_judges_alone(tmp_path: Path) -> None:
    write_groups(tmp_path / "t.duckdb", groups=1)
    with open_trace(tmp_path / "t.duckdb") as con:
        others, judging = two_halves(con, queries.trace_info(con), accesses=10**6)
    assert (len(others), len(judging)) == (0, 2)


def write_groups(path: Path, *, groups: int) -> None:
    """Two texts of four tokens in each."""
    with TraceStore.create(path, description(layers=2, experts=4)) as store:
        for doc_id in range(2 * groups):
            batch = batch_of([doc_id] * 4, [[[0, 1], [2, 3]]] * 4)
            document = replace(batch.documents[0], group=f"g{doc_id // 2}")
            store.write(replace(batch, documents=(document,)))


def write_lengths(path: Path, *lengths: int) -> None:
    """Texts of so many tokens, each a group; two layers, two choices of four experts."""
    rng = np.random.default_rng(0)
    with TraceStore.create(path, description(layers=2, experts=4)) as store:
        for doc_id, tokens in enumerate(lengths):
            ids_TLK = rng.random((tokens, 2, 4)).argsort(-1)[..., :2]
            store.write(batch_of([doc_id] * tokens, ids_TLK))
