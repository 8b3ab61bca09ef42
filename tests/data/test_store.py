import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.rollups import PairCounts, document_k_table, document_load_table
from data.routing import DECODE, NO_EXPERT, PREFILL, RoutingBatch, concatenated
from data.store import TraceStore, discard_partial, open_trace, partial_path
from data.writer import parts
from tests.routing_batches import batch_of, description, random_document

SUMMED = ("document_load", "document_k", "coactivation", "transition")
TABLES = ("trace", "document", "token", "expert", "gate", *SUMMED)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with open_trace(path) as connection:
        return connection.execute(query).fetchall()


def write_all(
    path: Path, batches: list[RoutingBatch], *, then: type[BaseException] | None = None
) -> None:
    with TraceStore.create(path, description()) as store:
        for batch in batches:
            store.write(batch)
        if then is not None:
            raise then


def write_two_documents(path: Path) -> None:
    """Document 3 has two tokens, document 4 one; 2 layers, 2 of 4 experts."""
    with TraceStore.create(path, description(experts=4)) as store:
        store.write(batch_of([3, 3], [[[0, 1], [2, 3]], [[1, 0], [2, 0]]]))
        store.write(batch_of([4], [[[0, 3], [1, 2]]]))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "two.duckdb"
    write_two_documents(path)
    return path


def test_a_finished_trace_is_one_file_under_its_name(trace: Path) -> None:
    assert [path.name for path in trace.parent.iterdir()] == ["two.duckdb"]


def test_documents_and_tokens_are_stored_as_given(trace: Path) -> None:
    found = rows(trace, "SELECT doc_id, domain, text, origin, sha256 FROM document")
    assert [row[:4] for row in found] == [
        (3, "math", "text 3", "test"),
        (4, "math", "text 4", "test"),
    ]
    assert found[0][4] == hashlib.sha256(b"text 3").hexdigest()
    tokens = rows(trace, "SELECT doc_id, position, token_id, text, phase, loss FROM token")
    assert tokens == [(3, 0, 0, "t0", 0, 0.0), (3, 1, 1, "t1", 0, 1.0), (4, 0, 0, "t0", 0, 0.0)]


def test_routing_lies_in_document_position_layer_rank_order(trace: Path) -> None:
    found = rows(trace, "SELECT doc_id, position, layer_id, rank, expert_id, weight FROM routing")
    assert found[:6] == [
        (3, 0, 0, 0, 0, 1.0),
        (3, 0, 0, 1, 1, 0.5),
        (3, 0, 1, 0, 2, 1.0),
        (3, 0, 1, 1, 3, 0.5),
        (3, 1, 0, 0, 1, 1.0),
        (3, 1, 0, 1, 0, 0.5),
    ]
    assert found == sorted(found)
    assert len(found) == 12


def test_gate_has_one_row_a_decision(trace: Path) -> None:
    found = rows(trace, "SELECT doc_id, position, layer_id, entropy, margin FROM gate")
    assert found[2:4] == [(3, 1, 0, 1.0, 1.0), (3, 1, 1, 1.0, 1.0)]
    assert len(found) == 6


def test_every_expert_is_listed_dead_ones_too(trace: Path) -> None:
    expected = [(layer, expert) for layer in range(2) for expert in range(4)]
    assert rows(trace, "SELECT layer_id, expert_id FROM expert") == expected


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


def test_what_is_unknown_is_null(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    batch = batch_of([0, 0], [[[0, 1]] * 2] * 2)
    nan = np.array([np.nan, 1.0], np.float32)
    with TraceStore.create(path, description()) as store:
        store.write(replace(batch, loss_T=nan, entropy_TL=None, margin_TL=None))
    assert rows(path, "SELECT loss FROM token") == [(None,), (1.0,)]
    assert rows(path, "SELECT count(*), count(entropy), count(margin) FROM gate") == [(4, 0, 0)]


def test_choices_that_were_not_made_have_no_row(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    ids_TLK = [[[0, 1, 2], [3, NO_EXPERT, NO_EXPERT]]]
    with TraceStore.create(path, description(experts=4, top_k=None)) as store:
        store.write(batch_of([0], ids_TLK))
    assert rows(path, "SELECT layer_id, expert_id FROM routing") == [(0, 0), (0, 1), (0, 2), (1, 3)]
    assert rows(path, "SELECT sum(tokens) FROM coactivation") == [(3,)]
    assert rows(path, "SELECT sum(tokens) FROM transition") == [(3,)]
    assert rows(path, "SELECT sum(tokens) FROM document_load") == [(4,)]
    assert rows(path, "SELECT top_k FROM trace") == [(None,)]


def test_dropped_choices_have_rows_and_sums_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "dropped.duckdb"
    batch = batch_of([3, 3, 5], [[[0, 1], [2, -1]], [[1, -1], [2, 0]], [[0, -1], [-1, -1]]])
    dropped_TLK = np.array([[[-1, -1], [-1, 3]], [[-1, 3], [-1, -1]], [[-1, 3], [1, 3]]], np.int16)
    with TraceStore.create(path, description(experts=4, top_k=None)) as store:
        store.write(replace(batch, dropped_ids_TLK=dropped_TLK))
    assert rows(path, "FROM dropped") == [
        *((3, 0, 1, 3), (3, 1, 0, 3)),
        *((5, 0, 0, 3), (5, 0, 1, 1), (5, 0, 1, 3)),
    ]
    assert rows(path, "FROM document_dropped WHERE layer_id = 1") == [
        *((3, 1, 3, 1), (5, 1, 1, 1), (5, 1, 3, 1)),
    ]
    assert rows(path, "SELECT count(*) FROM routing") == [(7,)]


def test_a_document_is_held_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    ids = [[[0, 1]] * 2]
    with TraceStore.create(path, description()) as store:
        store.write(batch_of([0], ids, completes=[]))
        store.write(batch_of([1], ids, completes=[]))
        store.write(batch_of([0], ids, phase=DECODE, first_position=1, completes=[0]))
        store.write(batch_of([1], ids, phase=DECODE, first_position=1, completes=[1]))
    tokens = rows(path, "SELECT doc_id, position, phase FROM token")
    assert tokens == [(0, 0, PREFILL), (0, 1, DECODE), (1, 0, PREFILL), (1, 1, DECODE)]
    load = rows(path, "SELECT phase, tokens FROM document_load WHERE doc_id = 0 AND layer_id = 0")
    assert sorted(load) == [(0, 1), (0, 1), (1, 1), (1, 1)]


def test_a_document_begun_and_never_completed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(ValueError, match=r"documents \[7\] were begun and never completed"):
        write_all(path, [batch_of([7], [[[0, 1]] * 2], completes=[])])
    assert not path.exists()


def test_an_error_of_the_writer_reaches_the_producer(tmp_path: Path) -> None:
    same = batch_of([1], [[[0, 1]] * 2])
    with pytest.raises(ValueError, match="document 1 came after 1"):
        write_all(tmp_path / "t.duckdb", [same] * 100)  # the queue is short: seen long before


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (batch_of([0], [[[0, 1]]]), "1 layers, the trace has 2"),
        (batch_of([0], [[[0], [1]]]), "1 choices a token, the trace has 2"),
        (batch_of([0], [[[0, 1], [2, 8]]]), "expert ids from 0 to 8 in a trace of 8"),
        (batch_of([0], [[[0, 1], [2, NO_EXPERT]]]), "expert ids from -1 to 2"),
    ],
)
def test_routing_of_another_shape_is_refused(
    tmp_path: Path, batch: RoutingBatch, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_all(tmp_path / "t.duckdb", [batch])


def test_truncated_documents_are_counted_in_the_config(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    batch = batch_of([0], [[[0, 1]] * 2])
    cut = replace(batch, documents=(replace(batch.documents[0], truncated_tokens=9),))
    with TraceStore.create(path, description()) as store:
        store.write(cut)
    config = json.loads(rows(path, "SELECT config FROM trace")[0][0])
    assert config["truncated"] == {"documents": 1, "tokens": 9}
    assert config["model"] == {"hidden_dim": 4}


# rollups against a direct count of the routing


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


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_parts_are_whole_documents_within_the_limit(lengths: list[int], tokens: int) -> None:
    documents = [random_document(doc_id, tokens=n) for doc_id, n in enumerate(lengths)]
    pieces = parts(concatenated(documents), tokens=tokens)
    assert concatenated(pieces).doc_id_T.tolist() == concatenated(documents).doc_id_T.tolist()
    for piece in pieces:
        assert len(piece.doc_id_T) <= tokens or len(set(piece.doc_id_T.tolist())) == 1
    seen = [doc_id for piece in pieces for doc_id in set(piece.doc_id_T.tolist())]
    assert len(seen) == len(set(seen))


# interruptions

DOCUMENTS, TOKENS = 12, 6_000  # a transaction every three documents


def write_documents(path: Path, *, resume: bool = False, announce: bool = False) -> None:
    begin = TraceStore.resume if resume else TraceStore.create
    with begin(path, description()) as store:
        for doc_id in sorted(set(range(DOCUMENTS)) - store.stored_doc_ids()):
            store.write(random_document(doc_id, tokens=TOKENS))
            if announce:
                print(doc_id, flush=True)


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: rows(
            path, f"SELECT * {'EXCLUDE (created_at)' if table == 'trace' else ''} FROM {table}"
        )
        for table in TABLES
    } | {"routing": rows(path, "SELECT count(*), sum(hash(COLUMNS(*))::HUGEINT) FROM routing")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    path = tmp_path_factory.mktemp("whole") / "t.duckdb"
    write_documents(path)
    return contents(path)


def killed_after(path: Path, document: int, *, resume: bool) -> None:
    """A process that writes, killed with SIGKILL once it has handed over `document`."""
    code = (
        "from pathlib import Path; from tests.data.test_store import write_documents; "
        f"write_documents(Path({str(path)!r}), resume={resume}, announce=True)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= document:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


def test_a_capture_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, uninterrupted: dict[str, list[tuple[Any, ...]]]
) -> None:
    path = tmp_path / "t.duckdb"
    for attempt, document in enumerate((0, 3, 6, 10)):
        killed_after(path, document, resume=attempt > 0)
        assert not path.exists()
    write_documents(path, resume=True)
    assert contents(path) == uninterrupted


def test_an_exception_leaves_whole_documents_that_resume_continues(
    tmp_path: Path, uninterrupted: dict[str, list[tuple[Any, ...]]]
) -> None:
    path = tmp_path / "t.duckdb"
    begun = [random_document(doc_id, tokens=TOKENS) for doc_id in range(5)]
    with pytest.raises(KeyboardInterrupt):
        write_all(path, begun, then=KeyboardInterrupt)
    assert [found.name for found in tmp_path.iterdir()] == ["t.duckdb.partial"]
    with TraceStore.resume(path, description()) as store:
        assert store.stored_doc_ids() == {0, 1, 2, 3, 4}
        for doc_id in range(5, DOCUMENTS):
            store.write(random_document(doc_id, tokens=TOKENS))
    assert contents(path) == uninterrupted


def test_an_exception_before_the_first_document_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_all(tmp_path / "t.duckdb", [], then=KeyError)
    assert list(tmp_path.iterdir()) == []


def interrupted(path: Path) -> None:
    with pytest.raises(KeyError):
        write_all(path, [random_document(0, tokens=5)], then=KeyError)


def test_resume_refuses_another_capture(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    with pytest.raises(ValueError, match="begun with another model_sha256"):
        TraceStore.resume(path, description(model_sha256="1" * 64))
    config = {"model": {"hidden_dim": 4}, "capture": {"prompts": {"sha256": "abd"}}}
    with pytest.raises(ValueError, match=r"config\.capture\.prompts\.sha256 \(abc, now abd\)"):
        TraceStore.resume(path, replace(description(), config=config))
    assert partial_path(path).exists()


def test_discard_partial_leaves_nothing(tmp_path: Path) -> None:
    interrupted(tmp_path / "t.duckdb")
    discard_partial(tmp_path / "t.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_create_refuses_what_would_overwrite(tmp_path: Path, trace: Path) -> None:
    with pytest.raises(ValueError, match="exists; delete it or choose another name"):
        TraceStore.create(trace, description())
    interrupted(tmp_path / "t.duckdb")
    with pytest.raises(ValueError, match="unfinished capture; add --resume or delete it"):
        TraceStore.create(tmp_path / "t.duckdb", description())
    with pytest.raises(ValueError, match=r"a trace is a \.duckdb file, t\.db is not"):
        TraceStore.create(tmp_path / "t.db", description())
    with pytest.raises(ValueError, match=r"cannot open .*No such file or directory"):
        TraceStore.create(tmp_path / "absent" / "t.duckdb", description())


def test_resume_needs_an_unfinished_capture(tmp_path: Path, trace: Path) -> None:
    with pytest.raises(ValueError, match="is complete; start without --resume"):
        TraceStore.resume(trace, description())
    with pytest.raises(ValueError, match=r"there is no .*partial; start without --resume"):
        TraceStore.resume(tmp_path / "t.duckdb", description())


# readers


outside = {"secret": np.arange(3)}  # by default DuckDB reads any variable as a table


def test_a_trace_is_read_only_and_reaches_nothing_outside(trace: Path, tmp_path: Path) -> None:
    with open_trace(trace) as connection:
        for statement in (
            "DELETE FROM token",
            "WITH gone AS (DELETE FROM token RETURNING *) SELECT * FROM gone",
            f"COPY token TO '{tmp_path}/out.csv'",
            "SELECT * FROM read_text('/etc/passwd')",
            f"ATTACH '{tmp_path}/other.duckdb'",
            "SELECT * FROM outside",
            "SET threads = 8",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement).fetchall()


def test_a_trace_opens_twice_in_one_process(trace: Path) -> None:
    with open_trace(trace) as first, open_trace(trace) as second:
        assert first.execute("SELECT 1").fetchall() == second.execute("SELECT 1").fetchall()


def test_open_trace_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no trace .*absent\.duckdb"):
        open_trace(tmp_path / "absent.duckdb")
    (tmp_path / "text.duckdb").write_text("no database")
    with pytest.raises(ValueError, match="is not a DuckDB file"):
        open_trace(tmp_path / "text.duckdb")
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    with pytest.raises(ValueError, match="is a DuckDB file but not a trace"):
        open_trace(tmp_path / "other.duckdb")


def test_open_trace_refuses_an_unfinished_capture(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    for name in (path, partial_path(path)):
        with pytest.raises(ValueError, match=r"unfinished.*--out .*t\.duckdb --resume"):
            open_trace(name)


def test_open_trace_refuses_another_format(trace: Path) -> None:
    with duckdb.connect(str(trace)) as connection:
        connection.execute("UPDATE trace SET format_version = 9")
    with pytest.raises(ValueError, match="has trace format 9, this RouteScope reads 3"):
        open_trace(trace)


def test_open_trace_names_the_process_that_writes(trace: Path) -> None:
    code = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); "
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(trace)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ValueError, match=f"written by process {process.pid}"):
            open_trace(trace)
        process.communicate()


@settings(deadline=None, max_examples=20)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "t.duckdb"
    batch = replace(batch_of([0], [[[0, 1]] * 2]), token_text_T=[text])
    document = replace(batch.documents[0], text=text, origin=text)
    with TraceStore.create(path, description()) as store:
        store.write(replace(batch, documents=(document,)))
    assert rows(path, "SELECT text, origin FROM document") == [(text, text)]
    assert rows(path, "SELECT text FROM token") == [(text,)]
