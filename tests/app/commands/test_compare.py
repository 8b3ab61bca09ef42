"""`routescope compare`"""

import csv
import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from app.parts import open_part
from app.studies import comparing
from tests.app.shell import Run
from tests.matched import drawn_texts, write_texts
from tests.traces import write_choices, write_tiny_trace
from tests.twins import write_model, write_twin


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Twenty texts, whose every third token chooses another expert in the second trace."""
    first, second = tmp_path / "first.duckdb", tmp_path / "second.duckdb"
    ids_TLK = np.arange(60).reshape(60, 1, 1) % 4
    changed_TLK = ids_TLK.copy()
    changed_TLK[::3] = (changed_TLK[::3] + 1) % 4
    for path, ids in ((first, ids_TLK), (second, changed_TLK)):
        write_choices(path, ids, np.repeat(np.arange(20), 3))
    return first, second


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *of: object) -> str:
    monkeypatch.setattr(sys, "argv", ["routescope", "compare", *map(str, of)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    return capsys.readouterr().out


def test_what_changed_is_printed_and_leaves_as_tables(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = run(monkeypatch, capsys, *pair, "--out", tmp_path / "out")
    assert said.startswith("first -> second\n  Both have 20 groups of the same texts")
    assert "decisions that choose another set of experts: 33.33%" in said
    tables = {path.stem for path in (tmp_path / "out").glob("*.csv")}
    assert {"load_differences", "flips", "per_token_differences"} <= tables
    with (tmp_path / "out" / "load_differences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["expert_id"] for row in rows] == ["0", "1", "2", "3"]
    assert {(row["trace"], row["compared_with"]) for row in rows} == {("second", "first")}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert sorted(tables) == manifest["tables"]


def test_parts_of_a_trace_as_json(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["--part", "domain:a", "--part", "domain:b"]
    value = json.loads(run(monkeypatch, capsys, pair[0], *parts, "--json"))
    assert [(one["first"], one["second"]) for one in value["comparisons"]] == [
        ("first, a", "first, b")
    ]
    assert value["comparisons"][0]["tokens"] is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "found 1 trace to compare; give two to four traces"),
        (
            ("--part", "half:first"),
            "found 1 part to compare; give two to four parts of it (--part)",
        ),
        (
            ("--part", "domain:law", "--part", "domain:a"),
            "the trace has no texts of domain 'law'; there are domain:a, domain:b, half:first, "
            "half:second",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    pair: tuple[Path, Path], refused: Run, arguments: tuple[str, ...], line: str
) -> None:
    assert refused("compare", pair[0], *arguments).endswith(line)


def test_a_folder_that_is_there_is_refused_before_anything_is_read(
    pair: tuple[Path, Path], tmp_path: Path, refused: Run
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    assert "out" in refused("compare", *pair, "--out", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_traces_without_a_common_text_are_compared_in_sums(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tiny_trace(tmp_path / "tiny.duckdb")
    said = run(monkeypatch, capsys, pair[0], tmp_path / "tiny.duckdb")
    assert "Texts differ: 20 groups against 3, two independent samples." in said
    assert "1 MoE layers against 2" in said
    assert "token by token: not compared, because " in said


def test_sentences_call_models_by_the_names_of_their_traces(tmp_path: Path) -> None:
    sides = []
    with ExitStack() as opened:
        for name, layers in (("deep", 4), ("flat", 2)):
            path = tmp_path / f"{name}.duckdb"
            write_texts(path, drawn_texts(layers=layers), layers=layers)
            path = path.rename(tmp_path / f"my {name}.duckdb")
            con = opened.enter_context(open_part(path, ""))
            sides.append(comparing.side_of(con, path, path.stem))
        found = comparing.compared(sides[0], sides[1])
    assert "my deep has 4 MoE layers, my flat 2" in " ".join(found.lines())


def test_experts_that_end_and_small_changes_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    ids_TLK = rng.random((240, 1, 8)).argsort(-1)[..., :1]
    changed_TLK = np.where(ids_TLK == 0, 1, ids_TLK)
    paths = [tmp_path / f"{name}.duckdb" for name in ("before", "later")]
    for path, ids in zip(paths, (ids_TLK, changed_TLK), strict=True):
        write_choices(path, ids, np.repeat(np.arange(24), 10), num_experts=8)
    said = run(monkeypatch, capsys, *paths)
    assert "; 1 expert of the first is never chosen in the second" in said


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Two, whose experts 0 and 1 change places, each with a trace of the same choices."""
    folders = [write_model(tmp_path / "original")]
    name_LE = np.array([[1, 0, *range(2, 8)]] * 2)
    folders.append(write_twin(tmp_path / "twin", folders[0], name_LE))
    for folder in folders:
        write_texts(tmp_path / f"{folder.name}.duckdb", drawn_texts(), layers=2, model=folder)
    return folders


def traces_of(folders: list[Path]) -> list[Path]:
    return [folder.with_name(f"{folder.name}.duckdb") for folder in folders]


def test_models_that_are_given_are_matched_by_weights(
    models: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [argument for folder in models for argument in ("--model", folder)]
    said = run(monkeypatch, capsys, *traces_of(models), *given, "--out", tmp_path / "out")
    assert "By weights, 16 of 16 experts have a counterpart" in said
    assert "12 have the same counterpart both ways; by chance 2.0 would." in said
    with (tmp_path / "out" / "matched_experts_by_weights.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["other_expert_id"] for row in rows[:3]] == ["1", "0", "2"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["comparisons"][0]["weights"]["as_by_routing"]["same"] == 12


def test_models_that_do_not_fit_their_traces_are_refused(models: list[Path], refused: Run) -> None:
    traces = traces_of(models)
    assert refused("compare", *traces, "--model", models[0]) == (
        "--model must be given once for each of the 2 traces, in their order (found: 1)"
    )
    swapped = refused("compare", *traces, "--model", models[1], "--model", models[0])
    assert swapped.startswith("original was made by model")
    parts = ["--part", "half:first", "--part", "half:second"]
    assert "parts of one trace have one" in refused(
        "compare", traces[0], *parts, "--model", models[0]
    )
