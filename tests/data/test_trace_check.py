"""What is refused before anything is read from a trace, and what is not."""

import json
import os
from pathlib import Path

import duckdb
import pytest

from data import trace_check
from data.connection import TraceError, connect, reading
from data.store import TraceStore, open_trace
from data.trace_paths import partial_path
from tests.data.stored import (
    as_format_3,
    as_format_4,
    as_format_5,
    as_format_6,
    as_format_7,
    interrupted,
    rows,
)
from tests.routing_batches import batch_of, description
from tests.traces import write_empty_trace, write_tiny_trace

NON_FINITE = (
    "INSERT INTO finding (kind, severity, occurrences, first_example, effect) "
    "VALUES ('non-finite', 'warning', 1, 'layer 0', 'means')"
)


def groups_in_words(source: str, **counts: int) -> str:
    """A configuration."""
    groups = {"from": source, "documents": 3, "groups": 3, "joined": 0} | counts
    return json.dumps({"capture": {"prompts": {}, "groups": groups}})


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    write_tiny_trace(tmp_path / "t.duckdb")
    return tmp_path / "t.duckdb"


def change(path: Path, *statements: str) -> Path:
    with duckdb.connect(str(path)) as con:
        for statement in statements:
            con.execute(statement)
    return path


@pytest.mark.parametrize(
    ("statement", "message"),
    {
        "CREATE VIEW v AS SELECT * FROM read_text('/etc/passwd')": "holds the view 'v'",
        "CREATE MACRO sum(x) AS 42": "holds the macro 'sum'",
        "CREATE MACRO duckdb_views() AS TABLE SELECT 1": "holds the macro 'duckdb_views'",
        'CREATE MACRO "+"(a, b) AS 7': r"holds the macro '\+'",
        "CREATE TYPE t AS ENUM ('a')": "holds the type 't'",
        "CREATE SEQUENCE s": "holds the sequence 's'",
        "CREATE SCHEMA s": "holds the schema 's'",
        "CREATE INDEX i ON token (doc_id)": "holds the index 'i'",
        "CREATE TABLE extra (a INT)": "its table 'extra' is not that of trace format 8",
        "DROP TABLE decision": "its table 'decision' is not",
        "ALTER TABLE token ADD COLUMN a INT": "its table 'token' is not",
        "ALTER TABLE token ALTER COLUMN doc_id TYPE BIGINT": "its table 'token' is not",
        "ALTER TABLE token ALTER COLUMN phase DROP NOT NULL": "its table 'token' is not",
        "ALTER TABLE token ALTER COLUMN loss SET DEFAULT 1": "its table 'token' is not",
    }.items(),
)
def test_a_trace_holds_the_tables_of_its_format_and_nothing_else(
    statement: str, message: str, tiny: Path
) -> None:
    with pytest.raises(TraceError, match=message):
        open_trace(change(tiny, statement))


def test_a_table_with_a_generated_column_is_refused(tiny: Path) -> None:
    change(
        tiny,
        "DROP TABLE finding",
        "CREATE TABLE finding (kind VARCHAR NOT NULL, severity VARCHAR AS (upper(kind)))",
    )
    with pytest.raises(TraceError, match="its table 'finding' is not"):
        open_trace(tiny)


@pytest.mark.parametrize(
    ("statement", "message"),
    {
        "INSERT INTO trace FROM trace": "has trace format 8, 8",
        "UPDATE trace SET num_layers = 0": "it has 0 layers of 4 experts",
        "UPDATE trace SET num_layers = 3": "table layer does not describe every layer",
        "UPDATE trace SET num_experts = 5": "table layer does not describe every layer",
        "UPDATE trace SET num_shared_experts = 0": "or not as table trace does",
        "UPDATE trace SET scoring = 'mixed'": "or not as table trace does",
        "UPDATE trace SET top_k = 9": "2 layers of 4 experts, 9 chosen",
        "UPDATE trace SET top_k = 1": "or not as table trace does",
        "UPDATE layer SET top_k = NULL WHERE layer_id = 1": "or not as table trace does",
        "UPDATE trace SET top_k = 1; UPDATE layer SET top_k = 1": "at rank 1",
        "UPDATE layer SET scoring = 'sigmoid' WHERE layer_id = 1": "or not as table trace does",
        "UPDATE layer SET num_experts = 3 WHERE layer_id = 1": "table expert does not name every",
        "UPDATE layer SET name = 'a'": "table layer does not describe every layer",
        "UPDATE layer SET name = '' WHERE layer_id = 0": "table layer does not describe every",
        "UPDATE layer SET layer_id = 0": "table layer does not describe every layer",
        "UPDATE layer SET weighting = repeat('x', 1001)": "or not as table trace does",
        "DELETE FROM layer": "table layer does not describe every layer",
        "UPDATE trace SET created_at = 'infinity'": "its date is impossible",
        "UPDATE trace SET model_name = repeat('x', 1001)": "longer than 1,000 bytes",
        "UPDATE trace SET config = '[]'": "its configuration is no JSON object",
        """UPDATE trace SET config = '{"capture": 1}'""": "the capture of its configuration",
        """UPDATE trace SET config = '{"capture": {"groups": 1}}'""": "where its groups are from",
        f"UPDATE trace SET config = '{groups_in_words('x')}'": "where its groups are from",
        f"UPDATE trace SET config = '{groups_in_words('<b>x')}'": "where its groups are from",
        f"UPDATE trace SET config = '{groups_in_words('corpus and ')}'": "its groups are from",
        f"UPDATE trace SET config = '{groups_in_words('corpus', documents=-1)}'": "lack a number",
        f"UPDATE trace SET config = '{groups_in_words('corpus', joined=2**63)}'": "lack a number",
        f"UPDATE trace SET config = '{groups_in_words('corpus', joined=True)}'": "lack a number",
        """UPDATE trace SET config = '{"truncated": {"documents": -1, "tokens": 0}}'""": "lack a",
        "UPDATE trace SET model_sha256 = 'q'": "the hash of its model is no SHA-256",
        "UPDATE trace SET trace_id = repeat('x', 65)": "its id is not 1 to 64 characters long",
        "UPDATE trace SET trace_id = ''": "its id is not 1 to 64 characters long",
        "UPDATE document SET sha256 = 'q' WHERE doc_id = 1": "hash of document 1 is no SHA-256",
        "UPDATE decision SET entropy = -5 WHERE doc_id = 1; "
        "UPDATE document_gate SET entropy = -15 WHERE doc_id = 1": r"entropy -5\.0 of a gate is",
        "UPDATE decision SET entropy = 1.39; "
        "UPDATE document_gate SET entropy = 1.39 * entropies": "is not within 0 and ln 4",  # 1.386
        "UPDATE decision SET entropy = 0": r"sums \(document_gate\) of document 0 differ",
        "UPDATE document_gate SET margins = 1": r"sums \(document_gate\) of document 0 differ",
        "DELETE FROM document_gate": r"sums \(document_gate\) of document 0 differ",
        "UPDATE document_size SET tokens = 1 WHERE doc_id = 1": r"\(document_size\) of document 1",
        "UPDATE document_size SET loss = 1 WHERE doc_id = 1": r"\(document_size\) of document 1",
        "DELETE FROM document_size WHERE doc_id = 1": r"\(document_size\) of document 1",
        "DELETE FROM expert": "table expert does not name every expert",
        "UPDATE expert SET expert_id = 0": "table expert does not name every expert",
        "INSERT INTO document FROM document LIMIT 1": "document 0 occurs 2 times",
        "DELETE FROM document WHERE doc_id = 1": "belongs to document 1, which is missing",
        "UPDATE document SET domain = repeat('x', 1001)": "a label is longer",
        """UPDATE document SET "group" = 'a'""": "group a has texts of two domains",
        "INSERT INTO token FROM token LIMIT 1": "two tokens of document 0 share a position",
        "UPDATE token SET phase = 2": "has no phase",
        "UPDATE token SET special = ''": "the name of a special token is empty",
        "UPDATE token SET loss = 'inf'": "is not finite",
        "DELETE FROM token WHERE doc_id = 1": "of document 1 do not fit",
        "UPDATE decision SET expert_ids = [4, 0]": "routing names expert 4",
        "UPDATE decision SET expert_ids = [0, 1, 2], weights = [1, 1, 1]": "at rank 2",
        "UPDATE decision SET layer_id = 2": "do not fit its tokens and layers",
        "UPDATE decision SET layer_id = 0": "do not fit its tokens and layers",
        "UPDATE decision SET position = 9 WHERE layer_id = 1": "do not fit its tokens and layers",
        "INSERT INTO decision FROM decision": "do not fit its tokens and layers",
        "DELETE FROM decision": "do not fit its tokens and layers",
        "DELETE FROM decision WHERE doc_id = 1 AND layer_id = 0": "of document 1 do not fit its",
        "UPDATE decision SET expert_ids = [3, 2]": r"the sums \(document_load\) of expert",
        "UPDATE decision SET expert_ids = []": "are not as many as its choices",
        "UPDATE decision SET expert_ids = [], weights = []": r"document_k\) differ",
        "UPDATE decision SET weights = ['nan'::FLOAT, 1]": "16 of 16 weights are not finite",
        "UPDATE decision SET weights = NULL WHERE doc_id = 1": "6 of 16 weights are not finite",
        "UPDATE decision SET weights = [2, 2]": r"the sums \(document_load\) of expert",
        "UPDATE decision SET weights = [1]": "are not as many as its choices",
        "UPDATE document_load SET tokens = tokens + 1": r"\(document_load, document_k\) of layer",
        "UPDATE document_load SET weight_sum = 'nan'": r"the sums \(document_load\) of expert",
        "DELETE FROM document_k": r"lacks counts of experts a token",
        "UPDATE document_k SET k = 1": r"\(document_k\) are wrong",
        "UPDATE decision SET margin = '-inf'; "
        "UPDATE document_gate SET margin = '-inf'": "an entropy or a margin is not finite",
        "INSERT INTO dropped SELECT 0, 0, 0, 3": "choices that were dropped do not fit",
        "INSERT INTO document_dropped SELECT 0, 0, 3, 1": "choices that were dropped do not fit",
        "INSERT INTO finding VALUES ('a', 'odd', 1, '', '', '', '')": "of no severity",
        "INSERT INTO finding VALUES ('a', 'note', 1e18, '', '', '', '')": "too often",
        "DELETE FROM coactivation": r"the pairs \(coactivation\) of expert",
        "UPDATE coactivation SET tokens = 1": r"the pairs \(coactivation\) of expert",
        "UPDATE coactivation SET expert_b = expert_a": "in the wrong order",
        "UPDATE transition SET next_expert_id = 3": r"the pairs \(transition\) of expert",
        "UPDATE transition SET layer_id = 65535": r"the pairs \(transition\) of expert",
    }.items(),
)
def test_a_trace_whose_contents_do_not_agree_is_refused(
    statement: str, message: str, tiny: Path
) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        open_trace(change(tiny, statement))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "message"),
    {
        "UPDATE gate SET entropy = 3e38": "is not within 0 and ln 4",
        "DELETE FROM token WHERE doc_id = 1": "routing has tokens of document 1 that are missing",
        "UPDATE routing SET expert_id = 4": "routing names expert 4",
        "UPDATE routing SET layer_id = 2": "layer 2 has 16 choices",
        "UPDATE routing SET rank = 0": "layer 0 has 16 choices of rank 0 and 8 tokens",
        "UPDATE routing SET position = 9 WHERE rank = 1": "that are missing",
        "UPDATE routing SET expert_id = 3": r"the sums \(document_load\) of expert",
        "UPDATE routing SET weight = 'nan' WHERE rank = 1": "16 of 32 weights are not finite",
        "DELETE FROM routing": r"the sums \(document_load, document_k\) differ",
        "UPDATE gate SET margin = '-inf'": "an entropy or a margin is not finite",
        "INSERT INTO gate SELECT 0, 9, 0, 1, 1": "the gates of document 0 do not fit",
        "INSERT INTO gate FROM gate": "do not fit its tokens",
    }.items(),
)
def test_a_trace_of_rows_whose_contents_do_not_agree_is_refused(
    statement: str, message: str, tiny: Path
) -> None:
    with pytest.raises(TraceError, match=message):
        open_trace(change(as_format_7(tiny), statement))


def test_traces_of_every_format_and_empty_ones_are_sound(tmp_path: Path) -> None:
    formats = {
        "7": as_format_7,
        "6": as_format_6,
        "5": as_format_5,
        "4": as_format_4,
        "3": as_format_3,
    }
    for name, older in {"8": None, **formats}.items():
        for write in (write_tiny_trace, write_empty_trace):
            path = tmp_path / f"{write.__name__}{name}.duckdb"
            write(path)
            if older is not None:
                older(path)
            assert rows(path, "SELECT count(*) FROM trace") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE trace SET config = '{groups_in_words('column')}'",
        f"UPDATE trace SET config = '{groups_in_words('column and corpus and column')}'",
        f"UPDATE trace SET config = '{groups_in_words('near-duplicates', joined=2**63 - 1)}'",
        "UPDATE trace SET model_sha256 = ''",
        "UPDATE decision SET entropy = NULL WHERE doc_id = 1; "
        "UPDATE document_gate SET entropy = 0, entropies = 0 WHERE doc_id = 1",
        "UPDATE decision SET entropy = ln(4); UPDATE document_gate SET entropy = ln(4) * entropies",
        "UPDATE decision SET entropy = -1e-7; UPDATE document_gate SET entropy = 0",
        "UPDATE decision SET weights = list_transform(weights, lambda weight: -weight); "
        "UPDATE document_load SET weight_sum = -weight_sum",
    ],
)
def test_what_an_engine_may_write_is_sound(statement: str, tiny: Path) -> None:
    change(tiny, statement)
    assert rows(tiny, "SELECT count(*) FROM trace") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "message"),
    {
        "INSERT INTO document_size FROM document_size LIMIT 1": "of document 0 are twice there",
        "UPDATE document_gate SET doc_id = 9 WHERE doc_id = 1": "of document 9 are twice there, or",
        "UPDATE document_gate SET layer_id = 2 WHERE doc_id = 1": "of document 1 .* or layer",
    }.items(),
)
def test_the_sums_of_a_large_trace_agree(
    statement: str, message: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_check, "DECISIONS", 0)
    open_trace(tiny, rows=False).close()
    with pytest.raises(TraceError, match=message):
        open_trace(change(tiny, statement), rows=False)


def test_a_finding_names_values_that_are_not_finite(tiny: Path) -> None:
    change(
        tiny,
        NON_FINITE,
        "UPDATE decision SET weights = list_concat(['nan'::FLOAT], weights[2:]) WHERE doc_id = 0",
        "UPDATE document_load SET weight_sum = 'nan' WHERE doc_id = 0 AND expert_id = 0",
        "UPDATE decision SET entropy = 'inf' WHERE doc_id = 0",
        "UPDATE document_gate SET entropy = 'inf' WHERE doc_id = 0",
        "UPDATE token SET loss = 'nan' WHERE doc_id = 1 AND position > 0",
    )
    assert rows(tiny, "SELECT kind FROM finding") == [("non-finite",)]


def test_a_source_of_ids_alone_has_no_weights(tiny: Path) -> None:
    change(
        tiny,
        "UPDATE decision SET weights = NULL, entropy = NULL, margin = NULL",
        "UPDATE document_load SET weight_sum = 'nan'",
        "DELETE FROM document_gate",
    )
    assert rows(tiny, "SELECT count(*) FROM routing") == [(32,)]


def test_a_file_that_was_replaced_is_read_anew_while_the_old_one_is_open(tmp_path: Path) -> None:
    for name, doc_id in (("a", 3), ("b", 4)):
        with TraceStore.create(tmp_path / f"{name}.duckdb", description()) as store:
            store.write(batch_of([doc_id], [[[0, 1], [2, 3]]]))
    path = tmp_path / "a.duckdb"
    with open_trace(path) as old:
        os.replace(tmp_path / "b.duckdb", path)
        assert rows(path, "SELECT doc_id FROM document") == [(4,)]
        assert old.execute("SELECT doc_id FROM document").fetchall() == [(3,)]


def test_resume_refuses_a_file_that_holds_more_than_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    change(partial_path(path), "CREATE VIEW v AS SELECT * FROM read_text('/etc/passwd')")
    with pytest.raises(TraceError, match="holds the view 'v'"):
        TraceStore.resume(path, description())


def test_a_writer_reaches_its_own_file_alone(tmp_path: Path, tiny: Path) -> None:
    with connect(tmp_path / "w.duckdb", read_only=False) as con:
        for statement in (
            "SELECT * FROM read_text('/etc/passwd')",
            f"ATTACH '{tiny}'",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            "SET enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                con.execute(statement).fetchall()


def test_a_question_that_takes_too_long_is_stopped(tiny: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range = -1"
    with (
        open_trace(tiny) as con,
        pytest.raises(TraceError, match=r"t\.duckdb took longer than 0\.1 s and was stopped"),
        reading(con, tiny, seconds=0.1),
    ):
        con.execute(endless).fetchall()


def test_a_block_that_is_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    change(path, "CREATE TABLE a AS SELECT hash(range) AS x FROM range(200000)", "CHECKPOINT")
    data = bytearray(path.read_bytes())
    data[600_000:600_064] = bytes(64)
    path.write_bytes(data)
    with (
        connect(path, read_only=True) as con,
        pytest.raises(TraceError, match=r"t\.duckdb cannot be read: .*; copy or capture it again"),
        reading(con, path, seconds=60),
    ):
        con.execute("SELECT sum(x) FROM a").fetchall()


def test_a_trace_is_checked_once_while_it_stays_the_same(tiny: Path) -> None:
    for _ in range(2):
        open_trace(tiny).close()
    change(tiny, "UPDATE trace SET top_k = 9")
    before = trace_check._refusal.cache_info()
    for _ in range(2):
        with pytest.raises(TraceError, match="9 chosen"):
            open_trace(tiny)
    after = trace_check._refusal.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)
