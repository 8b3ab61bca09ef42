import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.routing import DECODE, FATAL, NO_EXPERT, PREFILL, Document, Finding, RoutingBatch
from data.store import TraceStore, open_trace
from tests.data.stored import rows, write_all
from tests.routing_batches import batch_of, description, grouped


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


@pytest.mark.parametrize("entropy", [-0.1, 2.2, 3e38])
def test_an_entropy_beyond_that_of_a_gate_is_refused(tmp_path: Path, entropy: float) -> None:
    batch = batch_of([0], [[[0, 1]] * 2])
    beyond_TL = np.full_like(batch.entropy_TL, entropy)
    with (
        TraceStore.create(tmp_path / "t.duckdb", description()) as store,
        pytest.raises(ValueError, match="in nats they are within 0 and ln 8"),  # 2.08
    ):
        store.write(replace(batch, entropy_TL=beyond_TL))


def test_a_hash_that_is_none_is_refused() -> None:
    assert description(model_sha256="").model_sha256 == ""
    with pytest.raises(ValueError, match="model_sha256 is 'q'; give the 64 hexadecimal digits"):
        description(model_sha256="q")


def test_every_expert_is_listed_dead_ones_too(trace: Path) -> None:
    expected = [(layer, expert) for layer in range(2) for expert in range(4)]
    assert rows(trace, "SELECT layer_id, expert_id FROM expert") == expected


def test_what_is_unknown_is_null(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    batch = batch_of([0, 0], [[[0, 1]] * 2] * 2)
    nan = np.array([np.nan, 1.0], np.float32)
    with TraceStore.create(path, description()) as store:
        store.write(replace(batch, loss_T=nan, entropy_TL=None, margin_TL=None))
    assert rows(path, "SELECT loss FROM token") == [(None,), (1.0,)]
    assert rows(path, "SELECT count(*) FROM gate") == [(0,)]


def test_tokens_that_their_source_does_not_name_have_neither_id_nor_text(tmp_path: Path) -> None:
    document = Document(doc_id=4, text="", origin="dump.bin:1")
    batch = RoutingBatch.of(
        doc_id_T=np.array([4, 4]),
        position_T=np.array([0, 1]),
        expert_ids_TLK=np.array([[[0, 1], [2, 3]], [[1, 0], [3, 2]]]),
        documents=(document,),
    )
    path = tmp_path / "t.duckdb"
    with TraceStore.create(path, description()) as store:
        store.write(batch)
    assert rows(path, "SELECT DISTINCT token_id, text, phase, loss FROM token") == [
        (None, None, 0, None)
    ]
    assert rows(path, "SELECT count(*), bool_and(isnan(weight)) FROM routing") == [(8, True)]


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


def test_parts_of_a_document_that_share_a_position_are_refused(tmp_path: Path) -> None:
    path, ids = tmp_path / "t.duckdb", [[[0, 1]] * 2]
    with pytest.raises(ValueError, match="two tokens of document 7 are at position 0"):
        write_all(path, [batch_of([7], ids, completes=[]), batch_of([7], ids, completes=[7])])
    assert not path.exists()


def test_a_document_begun_and_never_completed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(ValueError, match=r"documents \[7\] were begun and never completed"):
        write_all(path, [batch_of([7], [[[0, 1]] * 2], completes=[])])
    assert not path.exists()


def test_an_error_of_the_writer_reaches_the_producer(tmp_path: Path) -> None:
    alike = [batch_of([1], [[[0, 1]] * 2]) for _ in range(100)]
    with pytest.raises(ValueError, match="document 1 came twice"):
        write_all(tmp_path / "t.duckdb", alike)  # the queue is short: seen long before


def test_the_same_batch_again_is_written_once(tmp_path: Path) -> None:
    batch = batch_of([1], [[[0, 1]] * 2])
    write_all(tmp_path / "t.duckdb", [batch, batch])
    with open_trace(tmp_path / "t.duckdb") as con:
        assert con.execute("SELECT count(*) FROM token").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (batch_of([0], [[[0, 1]]]), "1 layers, the trace has 2"),
        (batch_of([0], [[[0], [1]]]), "1 choices a token, the trace has 2"),
        (batch_of([0], [[[0, 1], [2, 8]]]), "expert ids from 2 to 8 in layer 1, layers.1, of 8"),
        (batch_of([0], [[[0, 1], [2, NO_EXPERT]]]), "1 to 1 choices a token in layer 1, layers.1"),
    ],
)
def test_routing_of_another_shape_is_refused(
    tmp_path: Path, batch: RoutingBatch, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_all(tmp_path / "t.duckdb", [batch])


def test_groups_are_stored_as_given(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    write_all(path, [grouped(0, "Emma"), grouped(1, None), grouped(2, "Ulysses", "code")])
    assert rows(path, 'SELECT "group" FROM document') == [("Emma",), (None,), ("Ulysses",)]


@pytest.mark.parametrize(("domain", "shown"), [("code", "code"), (None, "unlabelled")])
def test_a_group_of_two_domains_is_refused(tmp_path: Path, domain: str | None, shown: str) -> None:
    line = f"document 1: group 'Emma' has texts of math and of {shown}; a group lies within one"
    with pytest.raises(ValueError, match=line):
        write_all(tmp_path / "t.duckdb", [grouped(0, "Emma"), grouped(1, "Emma", domain)])


def test_truncated_documents_are_counted_in_the_config(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    batch = batch_of([0], [[[0, 1]] * 2])
    cut = replace(batch, documents=(replace(batch.documents[0], truncated_tokens=9),))
    with TraceStore.create(path, description()) as store:
        store.write(cut)
    config = json.loads(rows(path, "SELECT config FROM trace")[0][0])
    assert config["truncated"] == {"documents": 1, "tokens": 9}
    assert config["model"] == {"hidden_dim": 4}


def broken(doc_id: int, *, occurrences: int) -> RoutingBatch:
    batch = batch_of([doc_id], [[[0, 1]] * 2])
    finding = Finding(
        kind="non-finite",
        severity=FATAL,
        occurrences=occurrences,
        first_example=f"document {doc_id}",
        effect="means nothing",
    )
    nan_TLK = batch.weights_TLK.copy()
    nan_TLK[0, 0, 0] = np.nan
    return replace(batch, weights_TLK=nan_TLK, findings=(finding,))


def test_findings_add_up_and_a_resumed_capture_adds_to_them(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(KeyError):
        write_all(path, [broken(0, occurrences=2), broken(1, occurrences=1)], then=KeyError)
    with TraceStore.resume(path, description()) as store:
        store.write(broken(2, occurrences=4))
    assert rows(path, "SELECT kind, severity, occurrences, first_example, effect FROM finding") == [
        ("non-finite", "fatal", 7, "document 0", "means nothing")
    ]
    assert rows(path, "SELECT count(*) FROM routing WHERE isnan(weight)") == [(3,)]


def test_weights_that_are_no_numbers_are_refused_without_a_finding(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NaN or infinite need a finding"):
        write_all(tmp_path / "t.duckdb", [replace(broken(0, occurrences=1), findings=())])


def test_weights_are_unknown_everywhere_or_nowhere(tmp_path: Path) -> None:
    known, other = (batch_of([doc_id], [[[0, 1]] * 2]) for doc_id in (0, 1))
    unknown = replace(other, weights_TLK=np.full_like(other.weights_TLK, np.nan))
    write_all(tmp_path / "ids.duckdb", [unknown])
    open_trace(tmp_path / "ids.duckdb").close()
    with pytest.raises(ValueError, match="NaN or infinite need a finding"):
        write_all(tmp_path / "t.duckdb", [known, unknown])


def test_findings_stay_with_the_documents_that_a_batch_completes(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with TraceStore.create(path, description()) as store:
        store.write(batch_of([1], [[[0, 1]] * 2], completes=[]))
        store.write(broken(0, occurrences=3))
        store.write(batch_of([1], [[[0, 1]] * 2], first_position=1))
    assert rows(path, "SELECT occurrences FROM finding") == [(3,)]


def test_a_trace_that_somebody_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"

    def write_while_another_comes() -> None:
        with TraceStore.create(path, description()) as store:
            store.write(batch_of([0], [[[0, 1]] * 2]))
            path.write_text("another")

    with pytest.raises(ValueError, match="move the other away and add --resume"):
        write_while_another_comes()
    assert path.read_text() == "another"
    path.unlink()
    with TraceStore.resume(path, description()):
        pass
    assert rows(path, "SELECT doc_id FROM document") == [(0,)]


def test_of_two_that_begin_one_trace_at_once_one_is_refused_and_the_other_goes_on(
    tmp_path: Path,
) -> None:
    for number in range(8):
        path = tmp_path / f"{number}.duckdb"
        with ThreadPoolExecutor(2) as both:
            begun = [both.submit(TraceStore.create, path, description()) for _ in range(2)]
            failed = [one for one in begun if one.exception() is not None]
        assert len(failed) == 1
        assert isinstance(failed[0].exception(), ValueError)
        [store] = [one.result() for one in begun if one not in failed]
        with store:
            store.write(batch_of([0], [[[0, 1], [0, 1]]]))
        assert rows(path, "SELECT count(*) FROM token") == [(1,)]


def test_what_a_deleted_capture_left_beside_it_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "t.duckdb.partial.wal").write_bytes(b"of another file")
    write_all(tmp_path / "t.duckdb", [batch_of([0], [[[0, 1]] * 2])])
    assert [path.name for path in tmp_path.iterdir()] == ["t.duckdb"]
