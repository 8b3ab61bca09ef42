"""One reader for all that lies beside a trace: the result of exactly this trace, or why not."""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sidecar import (
    Absent,
    Reason,
    Sidecar,
    look_at,
    read_sidecar,
    read_whole,
    remove_sidecars,
    require_replaceable,
    sidecar_path,
    write_sidecar,
)
from data.sidecar_kind import NUMBER, NUMBER_IF_ANY, TEXT, Kind, whole
from tests.sidecars import write_earlier, write_unchecked


@dataclass(frozen=True)
class Trace:
    trace_id: str = "a"
    num_layers: int = 2
    num_experts: int = 4
    num_documents: int = 3
    last_doc_id: int = 7
    num_tokens: int = 10

    @property
    def layer_sizes(self) -> np.ndarray:
        return np.full(self.num_layers, self.num_experts)


KIND = Kind(
    name="points",
    command="routescope project",
    version=2,
    columns=lambda trace: {
        "doc_id": whole(below=trace.last_doc_id + 1),
        "x": NUMBER,
        "p": NUMBER_IF_ANY,
        "text": TEXT,
    },
    rows=lambda trace: (1, trace.num_documents),
    parameters={"method": frozenset({"svd", "umap"}), "groups": int | None},
    agrees=lambda frame, trace: frame.doc_id.is_unique,
)
FRAME = pd.DataFrame({"doc_id": [0, 7], "x": [0.5, 1.5], "p": [None, 0.5], "text": ["a", "=b"]})
GIVEN = {"method": "svd", "groups": None}
SIGNED = {"trace_id": "a", "version": 2, **GIVEN}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demo.duckdb"


def write(path: Path, frame: pd.DataFrame = FRAME, **given: object) -> Path:
    return write_sidecar(path, KIND, frame, GIVEN | given, of=Trace())


def reason(path: Path, trace: Trace | None = None) -> Reason:
    absent = read_sidecar(path, KIND, of=trace or Trace())
    assert isinstance(absent, Absent)
    return absent.reason


def test_a_sidecar_comes_back_with_its_parameters_and_its_trace(path: Path) -> None:
    assert write(path, seed=0) == path.parent / "demo.points.parquet"
    stored = read_sidecar(path, KIND, of=Trace())
    assert isinstance(stored, Sidecar)
    pd.testing.assert_frame_equal(stored.frame, FRAME)
    assert stored.parameters == SIGNED | {"seed": 0}
    assert look_at(path, KIND, of=Trace()) == stored.parameters


def left_behind(partial: Path) -> None:
    """By a writer that was killed a while ago."""
    partial.touch()
    os.utime(partial, (0, 0))


def test_what_another_writer_is_writing_is_left_alone(path: Path) -> None:
    writing, begun = (path.parent / f"demo.points.parquet.{name}.partial" for name in "ab")
    left_behind(writing)
    begun.touch()  # and not locked yet
    with writing.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write(path)
        assert writing.exists()
    assert begun.exists()
    write(path)
    assert not writing.exists()


def test_a_second_write_replaces_the_first_and_leaves_no_partial_file(path: Path) -> None:
    write(path)
    for name in ("demo.points.parquet.partial", "demo.points.parquet.0123.partial"):
        left_behind(path.parent / name)
    write(path, FRAME.head(1), method="umap")
    stored = read_sidecar(path, KIND, of=Trace())
    assert isinstance(stored, Sidecar)
    assert (len(stored.frame), stored.parameters["method"]) == (1, "umap")
    assert [path.name for path in path.parent.iterdir()] == ["demo.points.parquet"]


def test_what_was_not_made_or_is_of_another_trace_or_version_is_absent(path: Path) -> None:
    assert reason(path) is Reason.NOT_MADE
    write(path)
    assert reason(path, Trace(trace_id="b")) is Reason.OTHER_TRACE
    later = read_sidecar(path, replace(KIND, version=3), of=Trace())
    assert isinstance(later, Absent)
    assert later.line == (
        "demo.points.parquet is of another version of RouteScope and is not used: "
        f"`routescope project {path}` makes it again."
    )
    write_earlier(path, KIND, FRAME, created_at="2026-01-02", **GIVEN)
    assert reason(path) is Reason.OTHER_VERSION
    write(path)  # over the old one
    assert isinstance(read_sidecar(path, KIND, of=Trace()), Sidecar)


@pytest.mark.parametrize(
    ("parameters", "frame"),
    [
        ([1], FRAME),
        ("words", FRAME),
        (SIGNED | {"method": "tsne"}, FRAME),
        (SIGNED | {"method": ["svd"]}, FRAME),
        (SIGNED | {"groups": "many"}, FRAME),
        (SIGNED | {"groups": True}, FRAME),
        (SIGNED | {"groups": 10**400}, FRAME),
        (SIGNED, FRAME.drop(columns="x")),
        (SIGNED, FRAME.assign(more=1)),
        (SIGNED, FRAME.assign(x=1)),
        (SIGNED, FRAME.assign(x="1.5")),
        (SIGNED, FRAME.assign(x=[1.5, float("nan")])),
        (SIGNED, FRAME.assign(x=[1.5, float("inf")])),
        (SIGNED, FRAME.assign(text=pd.Series(["a", None]))),
        (SIGNED, FRAME.assign(text=["a", "b" * 10_001])),
        (SIGNED, FRAME.assign(doc_id=[0, 8])),
        (SIGNED, FRAME.assign(doc_id=[-1, 0])),
        (SIGNED, FRAME.assign(doc_id=[3, 3])),
        (SIGNED, FRAME.head(0)),
        (SIGNED, pd.concat([FRAME, FRAME])),
    ],
)
def test_wrong_contents_of_the_right_trace_are_damage(
    path: Path, parameters: object, frame: pd.DataFrame
) -> None:
    write_unchecked(path, KIND, frame, parameters)
    assert reason(path) is Reason.DAMAGED


def test_right_contents_written_unchecked_are_read(path: Path) -> None:
    write_unchecked(path, KIND, FRAME, SIGNED)
    assert isinstance(read_sidecar(path, KIND, of=Trace()), Sidecar)


LONG = 50_000_000  # characters of one text


@pytest.mark.parametrize(
    ("texts", "rows", "why"),
    [
        (pa.array(["x" * LONG, ""]), 2, "row group 1 unpacks to 50,0"),
        (pa.DictionaryArray.from_arrays([0] * 30_000, ["x" * 10_000]), 30_000, "more than 256 MB"),
        (pa.DictionaryArray.from_arrays([0] * 9, ["x" * 1_000_000]), 9, "more than 10,000 bytes"),
    ],
    ids=["long", "often", "both"],
)
def test_a_small_file_of_much_text_is_damaged(
    path: Path, texts: pa.Array, rows: int, why: str
) -> None:
    kind, trace = replace(KIND, agrees=None), Trace(num_documents=rows)
    write_unchecked(path, KIND, pd.concat([FRAME] * (rows // 2 + 1)).head(rows), SIGNED)
    place = sidecar_path(path, KIND)
    table = pq.read_table(place)
    assert pa.types.is_large_string(table.schema.field("text").type)
    with pq.ParquetWriter(place, table.schema, compression="zstd") as writer:
        writer.write_table(table.set_column(3, "text", texts.cast(pa.large_string())))
    assert place.stat().st_size < 20_000
    before = pa.total_allocated_bytes()
    absent = read_sidecar(path, kind, of=trace)
    assert isinstance(absent, Absent)
    assert absent.reason is Reason.DAMAGED
    assert why in absent.line
    assert require_replaceable(path, kind, of=trace) == [absent.line]
    assert pa.total_allocated_bytes() == before


def test_as_much_text_as_a_result_may_have_comes_back(path: Path) -> None:
    frame = FRAME.assign(text=["x" * 10_000, "é" * 5_000])
    write(path, frame)
    stored = read_sidecar(path, KIND, of=Trace())
    assert isinstance(stored, Sidecar)
    pd.testing.assert_frame_equal(stored.frame, frame)


def test_a_result_that_the_reader_would_refuse_is_not_written(path: Path) -> None:
    with pytest.raises(AssertionError, match="its column x has infinite values"):
        write(path, FRAME.assign(x=float("inf")))
    assert not sidecar_path(path, KIND).exists()


def test_numbers_that_are_not_json_are_damage(path: Path) -> None:
    write_unchecked(path, KIND, FRAME, SIGNED | {"share": float("nan")})
    assert reason(path) is Reason.DAMAGED


@pytest.mark.parametrize("at", [0, 4, 40, 0.3, 0.5, 0.7, 0.9, -1, -5])
def test_a_cut_file_is_damaged_and_says_what_makes_it_again(path: Path, at: float) -> None:
    whole_file = write(path).read_bytes()
    cut = at if isinstance(at, int) else int(at * len(whole_file))
    sidecar_path(path, KIND).write_bytes(whole_file[:cut])
    absent = read_sidecar(path, KIND, of=Trace())
    assert absent == Absent(
        Reason.DAMAGED,
        "demo.points.parquet is damaged and is not used (it is cut or not Parquet): "
        f"`routescope project {path}` makes it again.",
    )
    assert require_replaceable(path, KIND, of=Trace()) == [absent.line]
    write(path)


def test_no_flipped_bit_is_shown(path: Path) -> None:
    content = write(path).read_bytes()
    for bit in range(0, 8 * len(content), 13):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        sidecar_path(path, KIND).write_bytes(flipped)
        stored = read_sidecar(path, KIND, of=Trace())
        if isinstance(stored, Sidecar):  # where nothing depends on it
            pd.testing.assert_frame_equal(stored.frame, FRAME)
            assert stored.parameters == SIGNED


def link(place: Path, target: Path) -> None:
    write(target.with_name("target.duckdb")).rename(target)
    place.symlink_to(target)


def dangling(place: Path, target: Path) -> None:
    place.symlink_to(target)


def folder(place: Path, target: Path) -> None:
    place.mkdir()


def pipe(place: Path, target: Path) -> None:
    os.mkfifo(place)


def foreign(place: Path, target: Path) -> None:
    FRAME.to_parquet(place)


@pytest.mark.parametrize("leave", [link, dangling, folder, pipe, foreign])
def test_what_is_not_ours_is_neither_read_nor_replaced(
    path: Path, tmp_path_factory: pytest.TempPathFactory, leave: Callable[[Path, Path], None]
) -> None:
    target = tmp_path_factory.mktemp("elsewhere") / "precious.parquet"
    leave(sidecar_path(path, KIND), target)
    before = sidecar_path(path, KIND).lstat(), target.exists() and target.read_bytes()
    absent = read_sidecar(path, KIND, of=Trace())
    assert isinstance(absent, Absent)
    assert absent.reason is Reason.FOREIGN
    assert absent.line.startswith("demo.points.parquet is not a result of RouteScope and is left")
    assert absent.line.endswith(f"and `routescope project {path}` makes the result.")
    for attempt in (lambda: write(path), lambda: require_replaceable(path, KIND, of=Trace())):
        with pytest.raises(ValueError, match="move it away"):
            attempt()
    after = sidecar_path(path, KIND).lstat(), target.exists() and target.read_bytes()
    assert before == after
    assert len(list(path.parent.iterdir())) == 1


def test_a_link_in_place_of_the_partial_file_is_not_written_through(path: Path) -> None:
    target = path.parent / "precious"
    target.write_text("mine")
    (path.parent / "demo.points.parquet.partial").symlink_to(target)
    write(path)
    assert target.read_text() == "mine"


def test_the_name_of_a_trace_is_quoted_for_the_shell(tmp_path: Path) -> None:
    absent = read_sidecar(tmp_path / "my [a] trace*.duckdb", KIND, of=Trace())
    assert isinstance(absent, Absent)
    assert f"`routescope project '{tmp_path}/my [a] trace*.duckdb'`" in absent.line


def test_with_a_trace_goes_what_lies_beside_it(path: Path) -> None:
    write(path)
    other = path.with_name("demo 2.duckdb")
    write(other)
    left_behind(path.parent / "demo.points.parquet.0123.partial")
    remove_sidecars(path, [KIND])
    assert [left.name for left in path.parent.iterdir()] == ["demo 2.points.parquet"]
    sidecar_path(path, KIND).symlink_to(sidecar_path(other, KIND))
    remove_sidecars(path, [KIND])
    assert [left.name for left in path.parent.iterdir()] == ["demo 2.points.parquet"]


def test_of_a_kind_with_a_rest_the_first_rows_are_read(path: Path) -> None:
    """The rest may lack optional columns, is checked when it is written, and stays in the file."""
    kind = replace(KIND, parted=True)
    rest = pd.DataFrame({"doc_id": [3], "x": [2.5], "text": ["c"]})
    write_sidecar(path, kind, FRAME, GIVEN, of=Trace(), rest=rest)
    stored = read_sidecar(path, kind, of=Trace())
    assert isinstance(stored, Sidecar)
    assert stored.frame.doc_id.tolist() == [0, 7]
    every = pq.read_table(sidecar_path(path, kind))
    assert every["doc_id"].to_pylist() == [0, 7, 3]
    assert every["p"].to_pylist() == [None, 0.5, None]
    with pytest.raises(AssertionError, match="doc_id goes from 8 to 8"):
        write_sidecar(path, kind, FRAME, GIVEN, of=Trace(), rest=rest.assign(doc_id=8))
    assert len(pq.read_table(sidecar_path(path, kind))) == 3


def test_all_rows_of_a_kind_with_a_rest_are_read_where_they_are_asked_for(path: Path) -> None:
    kind = replace(KIND, parted=True)
    rest = pd.DataFrame({"doc_id": [3], "x": [2.5], "text": ["a"]})
    write_sidecar(path, kind, FRAME, GIVEN, of=Trace(), rest=rest)
    table = read_whole(path, kind, of=Trace(), columns=["text", "doc_id"])
    assert isinstance(table, pa.Table)
    assert table.to_pandas().to_dict("list") == {"text": ["a", "=b", "a"], "doc_id": [0, 7, 3]}
    assert isinstance(read_whole(path, kind, of=Trace("b"), columns=["text"]), Absent)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"doc_id": 8}, "doc_id goes from 8 to 8"),
        ({"text": "a" * 10_001}, "more than 10,000 bytes"),
    ],
)
def test_a_rest_that_makes_no_sense_is_damage(path: Path, wrong: dict[str, Any], why: str) -> None:
    write_unchecked(path, KIND, FRAME.assign(**wrong), SIGNED)
    absent = read_whole(path, replace(KIND, parted=True), of=Trace(), columns=list(wrong))
    assert isinstance(absent, Absent)
    assert why in absent.line


def test_what_is_beside_a_folder_is_so_from_inside_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shards" / "fold").mkdir(parents=True)
    beside = sidecar_path(tmp_path / "shards", KIND)
    monkeypatch.chdir(tmp_path / "shards")
    assert sidecar_path(Path("."), KIND) == beside
    monkeypatch.chdir(tmp_path / "shards" / "fold")
    assert sidecar_path(Path(".."), KIND) == beside
