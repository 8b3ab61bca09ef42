"""Traces that were captured apart are one, row for row."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from data.connection import TraceError
from data.merge import merge_traces
from data.new_trace import TraceDescription
from data.routing import Finding, RoutingBatch
from data.store import TraceStore, open_trace
from data.trace_format import FORMAT_VERSION
from data.trace_paths import merging_path, partial_path
from tests.data.stored import as_format_3, as_format_5, as_format_7, open_elsewhere
from tests.routing_batches import batch_of, description, grouped, layer, random_document

LAYERS = description().layers
STORED = ("layer", "document", "token", "expert", "routing", "gate", "decision")
SUMMED = ("document_load", "document_dropped", "document_k", "document_size", "document_gate")
PAIRS = ("coactivation", "transition")
TABLES = (*STORED, "dropped", *SUMMED, *PAIRS)

UNFINISHED = bytes(8) + b"DUCK, cut short"


def write(
    path: Path, batches: list[RoutingBatch], described: TraceDescription | None = None
) -> Path:
    with TraceStore.create(path, described or description()) as store:
        for batch in batches:
            store.write(batch)
    return path


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table in the order in which it lies in the file."""
    with open_trace(path) as con:
        return {table: con.execute(f"FROM {table}").fetchall() for table in TABLES}


def with_drops(batch: RoutingBatch) -> RoutingBatch:
    """One choice of the first token of every layer was refused, and one truncated document."""
    dropped_TLK = np.full_like(batch.expert_ids_TLK, -1)
    dropped_TLK[0, :, :] = [[7, 6]]
    cut = tuple(replace(document, truncated_tokens=3) for document in batch.documents)
    return replace(batch, dropped_ids_TLK=dropped_TLK, documents=cut)


def test_two_documents_by_hand(tmp_path: Path) -> None:
    # one layer pair; each document is one token that goes to 0 and 1, then to 2 and 3
    a = write(tmp_path / "a.duckdb", [batch_of([0], [[[0, 1], [2, 3]]])])
    b = write(tmp_path / "b.duckdb", [batch_of([1], [[[0, 1], [2, 3]]])])
    assert merge_traces([a, b], tmp_path / "c.duckdb") == 2
    found = contents(tmp_path / "c.duckdb")
    assert [row[0] for row in found["document"]] == [0, 1]
    assert found["coactivation"] == [(0, 0, 1, 2), (1, 2, 3, 2)]
    assert found["transition"] == [(0, x, y, 2) for x in (0, 1) for y in (2, 3)]
    assert len(found["expert"]) == 16


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_documents_dealt_out_give_the_trace_of_one_process(tmp_path: Path, ranks: int) -> None:
    documents = [with_drops(random_document(doc_id, tokens=5 + doc_id)) for doc_id in range(8)]
    one = write(tmp_path / "one.duckdb", documents)
    shards = [write(tmp_path / f"{rank}.duckdb", documents[rank::ranks]) for rank in range(ranks)]
    before = [path.read_bytes() for path in shards]
    merge_traces(shards[::-1], tmp_path / "merged.duckdb")
    assert contents(tmp_path / "merged.duckdb") == contents(one)
    assert [path.read_bytes() for path in shards] == before
    with duckdb.connect(str(tmp_path / "merged.duckdb"), read_only=True) as con:
        name, config = con.execute("SELECT name, config FROM trace").fetchall()[0]
    assert name == "merged"
    assert json.loads(config)["truncated"] == {"documents": 8, "tokens": 24}
    assert "merged" not in json.loads(config)  # all were captured alike


def test_captures_that_differ_are_all_told(tmp_path: Path) -> None:
    other = replace(description(), config=description().config | {"capture": {"prompts": "b"}})
    a = write(tmp_path / "a.duckdb", [random_document(0, tokens=2)])
    b = write(tmp_path / "b.duckdb", [random_document(1, tokens=2)], other)
    merge_traces([a, b], tmp_path / "c.duckdb")
    with duckdb.connect(str(tmp_path / "c.duckdb"), read_only=True) as con:
        config = json.loads(con.execute("SELECT config FROM trace").fetchall()[0][0])
    assert config["merged"] == [{"prompts": {"sha256": "abc"}}, {"prompts": "b"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_sha256": "1" * 64}, "differ in model_sha256"),
        ({"tokenizer": "words"}, r"differ in tokenizer \(bytes, there words\)"),
        ({"layers": LAYERS[:1]}, r"differ in num_layers \(2, there 1\)"),
        (
            {"layers": (LAYERS[0], layer("layers.1", 9))},
            r"layer 1, layers.1: num_experts \(8, there 9",
        ),
        (
            {"layers": (LAYERS[0], layer("layers.1", 8, top_k=None))},
            r"layers.1: top_k \(2, there None",
        ),
        ({"layers": (layer("attention", 8), LAYERS[1])}, r"layers.0: name \(layers.0, there atten"),
        ({"config": {"model": {"hidden_dim": 5}}}, r"config.hidden_dim \(4, there 5\)"),
    ],
)
def test_traces_of_different_models_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    a = write(tmp_path / "a.duckdb", [])
    b = write(tmp_path / "b.duckdb", [], replace(description(), **changes))
    with pytest.raises(ValueError, match=message):
        merge_traces([a, b], tmp_path / "c.duckdb")
    assert not (tmp_path / "c.duckdb").exists()


def test_a_document_in_two_traces_is_refused(tmp_path: Path) -> None:
    documents = [random_document(doc_id, tokens=2) for doc_id in range(3)]
    a = write(tmp_path / "a.duckdb", documents)
    b = write(tmp_path / "b.duckdb", documents[1:])
    with pytest.raises(ValueError, match="both have document 1 and 1 more"):
        merge_traces([a, b], tmp_path / "c.duckdb")
    with pytest.raises(ValueError, match="both have document 0"):
        merge_traces([a, a], tmp_path / "c.duckdb")


def test_another_format_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.duckdb", [])
    b = write(tmp_path / "b.duckdb", [])
    with duckdb.connect(str(b)) as con:
        con.execute("UPDATE trace SET format_version = 1")
    with pytest.raises(ValueError, match="has trace format 1"):
        merge_traces([a, b], tmp_path / "c.duckdb")


@pytest.mark.parametrize("older", [(0, 1), (0,), (1,), ()])
def test_traces_with_and_without_groups_are_merged(tmp_path: Path, older: tuple[int, ...]) -> None:
    paths = [write(tmp_path / f"{x}.duckdb", [grouped(x, "Emma")]) for x in (0, 1)]
    for shard in older:
        as_format_3(paths[shard])
    merge_traces(paths, tmp_path / "c.duckdb")
    with duckdb.connect(str(tmp_path / "c.duckdb"), read_only=True) as con:
        found = con.execute('SELECT doc_id, domain, "group", origin FROM document').fetchall()
        version = con.execute("SELECT format_version FROM trace").fetchall()
    groups = [None if shard in older else "Emma" for shard in (0, 1)]
    assert found == [(x, "math", groups[x], "test") for x in (0, 1)]
    assert version == [(FORMAT_VERSION,)]


@pytest.mark.parametrize("older", [(0,), (1,), (0, 1)])
def test_what_an_older_trace_does_not_say_of_layers_differs_from_nothing(
    tmp_path: Path, older: tuple[int, ...]
) -> None:
    paths = [write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1)]
    for shard in older:
        as_format_5(paths[shard])
    merge_traces(paths, tmp_path / "c.duckdb")
    with open_trace(tmp_path / "c.duckdb") as con:
        layers = con.execute("SELECT name, selection FROM layer").fetchall()
        assert con.execute("SELECT DISTINCT special FROM token").fetchall() == [(None,)]
    known = [(f"layers.{number}", "scores") for number in range(2)]
    assert layers == ([(f"layer {x}", "unknown") for x in (0, 1)] if older == (0, 1) else known)


def test_a_group_that_spans_the_domains_of_two_traces_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.duckdb", [grouped(0, "Emma", "math")])
    b = write(tmp_path / "b.duckdb", [grouped(1, "Emma", None)])
    with pytest.raises(ValueError, match=r"b\.duckdb: group 'Emma' has texts of math and of unlab"):
        merge_traces([a, b], tmp_path / "c.duckdb")
    assert not (tmp_path / "c.duckdb").exists()


def test_a_merged_trace_says_how_all_documents_came_by_their_groups(tmp_path: Path) -> None:
    def captured(sha256: str, groups: dict[str, object] | None) -> TraceDescription:
        capture: dict[str, object] = {"prompts": {"sha256": sha256}}
        if groups is not None:
            capture["groups"] = groups
        return replace(description(), config={**description().config, "capture": capture})

    def merged_groups(*described: TraceDescription) -> object:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        paths = [
            write(folder / f"{x}.duckdb", [random_document(x, tokens=2)], one)
            for x, one in enumerate(described)
        ]
        merge_traces(paths, folder / "c.duckdb")
        with duckdb.connect(str(folder / "c.duckdb"), read_only=True) as con:
            (config,) = con.execute("SELECT config FROM trace").fetchall()[0]
        return json.loads(config)["capture"].get("groups")

    column = {"from": "column", "documents": 4, "groups": 2, "joined": 0}
    near = {"from": "near-duplicates", "documents": 9, "groups": 8, "joined": 1}
    both = {"from": "column and near-duplicates", "documents": 13, "groups": 10, "joined": 1}
    assert merged_groups(captured("a", column), captured("a", column)) == column
    assert merged_groups(captured("a", column), captured("b", near)) == both
    assert merged_groups(captured("a", column), captured("b", None)) is None


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1))
    with pytest.raises(ValueError, match="exists; delete it or choose another name"):
        merge_traces([a, b], a)
    partial_path(tmp_path / "c.duckdb").write_bytes(UNFINISHED)
    with pytest.raises(ValueError, match="is an unfinished capture"):
        merge_traces([a, b], tmp_path / "c.duckdb")
    with pytest.raises(ValueError, match="1 trace to merge; give two or more"):
        merge_traces([a], tmp_path / "d.duckdb")


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1))
    with duckdb.connect(str(b)) as con:
        con.execute("DROP TABLE decision")
    with pytest.raises(ValueError, match="its table 'decision' is not that of trace format 8"):
        merge_traces([a, b], tmp_path / "c.duckdb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.duckdb", "1.duckdb"]


def test_the_command_merges(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"it's {x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1))
    out = tmp_path / "both.duckdb"
    result = CliRunner().invoke(app, ["merge", str(a), str(b), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["documents"] == 2
    assert len(contents(out)["document"]) == 2


def test_a_view_instead_of_a_table_is_not_merged(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1))
    (tmp_path / "secret").write_text("the content of another file")
    with duckdb.connect(str(b)) as con:
        con.execute("ALTER TABLE token RENAME TO held")
        con.execute(
            "CREATE VIEW token AS SELECT * REPLACE "
            f"((SELECT content FROM read_text('{tmp_path}/secret')) AS text) FROM held"
        )
    with pytest.raises(ValueError, match="holds the view 'token', and a trace holds tables alone"):
        merge_traces([a, b], tmp_path / "c.duckdb")
    assert not list(tmp_path.glob("c.duckdb*"))


def test_a_merge_clears_away_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1))
    out = tmp_path / "c.duckdb"
    for ending in ("", ".wal", ".new"):
        (tmp_path / f"c.duckdb.merging{ending}").write_bytes(UNFINISHED)
    with pytest.raises(ValueError, match="unfinished merge; run the same `routescope merge` again"):
        open_trace(out)
    merge_traces([a, b], out)
    assert sorted(path.name for path in tmp_path.glob("c.*")) == ["c.duckdb"]
    partial_path(tmp_path / "d.duckdb").write_bytes(UNFINISHED)
    with pytest.raises(ValueError, match="is an unfinished capture"):
        merge_traces([a, b], tmp_path / "d.duckdb")
    assert partial_path(tmp_path / "d.duckdb").read_bytes() == UNFINISHED


def test_a_merge_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1))
    running = merging_path(tmp_path / "c.duckdb")
    with open_elsewhere(running) as pid:
        with pytest.raises(ValueError, match=f"written by process {pid}"):
            merge_traces([a, b], tmp_path / "c.duckdb")
        assert running.exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"truncated": None},
        {"capture": {"groups": {"from": "x"}, "prompts": {"sha256": [1]}}},
        {"capture": json.loads('{"a":' * 900 + "1" + "}" * 900)},
    ],
    ids=["null", "unhashable", "nested"],
)
def test_a_configuration_that_cannot_be_joined_is_refused(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    paths = [
        write(tmp_path / f"{name}.duckdb", [batch_of([doc_id], [[[0, 1], [2, 3]]])])
        for doc_id, name in enumerate("ab")
    ]
    for path in paths:
        with duckdb.connect(str(path)) as con:
            config = json.loads(con.execute("SELECT config FROM trace").fetchall()[0][0])
            con.execute("UPDATE trace SET config = $1", [json.dumps(config | changed)])
    with pytest.raises(ValueError, match="its configuration"):
        merge_traces(paths, tmp_path / "c.duckdb")


def test_a_weight_that_is_no_number_leaves_the_others_of_its_token(tmp_path: Path) -> None:
    batch = batch_of([0], [[[0, 1], [2, 3]]])
    weights_TLK = batch.weights_TLK.copy()
    weights_TLK[..., 0] = np.nan
    finding = Finding(
        kind="non-finite", severity="fatal", occurrences=1, first_example="a", effect="means"
    )
    a = write(tmp_path / "a.duckdb", [replace(batch, weights_TLK=weights_TLK, findings=(finding,))])
    b = write(tmp_path / "b.duckdb", [batch_of([1], [[[0, 1], [2, 3]]])])
    merge_traces([as_format_7(a), b], tmp_path / "c.duckdb")
    with open_trace(tmp_path / "c.duckdb") as con:
        found = con.execute("SELECT rank, weight FROM routing WHERE doc_id = 0").fetchall()
    assert str(found) == "[(0, nan), (1, 0.5), (0, nan), (1, 0.5)]"


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{x}.duckdb", [random_document(x, tokens=2)]) for x in (0, 1)]
    (tmp_path / "none").mkdir()
    with pytest.raises(TraceError, match="none is a folder; name a trace, or a folder of its shar"):
        merge_traces([*paths, tmp_path / "none"], tmp_path / "c.duckdb")


def test_traces_with_and_without_weights_are_no_one_trace(tmp_path: Path) -> None:
    batch = batch_of([1], [[[0, 1], [2, 3]]])
    a = write(tmp_path / "a.duckdb", [batch_of([0], [[[0, 1], [2, 3]]])])
    unknown_TLK = np.full_like(batch.weights_TLK, np.nan)
    b = write(tmp_path / "b.duckdb", [replace(batch, weights_TLK=unknown_TLK)])
    with pytest.raises(ValueError, match=r"cannot be one: .* not finite; keep them apart"):
        merge_traces([a, b], tmp_path / "c.duckdb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.duckdb", "b.duckdb"]
