import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.experts import ListKind
from app.studies.expert_lists.subject import KINDS
from tests.app.shell import Run
from tests.uneven import write_uneven_trace


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """36 texts of three domains; layers of 4, 8 and 6 experts."""
    write_uneven_trace(tmp_path / "trace.duckdb")
    return tmp_path / "trace.duckdb"


def experts(trace: Path, kind: str, *options: object) -> str:
    """What is printed. ValueError as the command line has it."""
    arguments = ["experts", trace, "--list", kind, *options]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_command_takes_every_kind_of_list() -> None:
    assert tuple(ListKind) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_is_printed_with_its_answer(trace: Path, kind: str) -> None:
    options = ("--needed", 200) if kind == "quantize" else ()
    said = json.loads(experts(trace, kind, "--json", *options))
    assert said["settings"]["kind"] == kind
    assert experts(trace, kind, *options).startswith(said["answer"])
    assert "nan" not in experts(trace, kind, *options)


def test_the_target_of_code_is_the_expert_that_it_prefers(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "code.json"
    experts(trace, "tune", "--domain", "code", "--top-p", 0.3, "--out", out)
    assert json.loads(out.read_text())["experts"]["0"] == [3]
    names = tmp_path / "names.json"
    experts(trace, "tune", "--domain", "code", "--top-p", 0.3, "--as", "peft", "--out", names)
    assert re.fullmatch(json.loads(names.read_text()), "encoder.layers.0.ffn.experts.3.w1")


def test_a_csv_has_every_expert(trace: Path, tmp_path: Path) -> None:
    experts(trace, "quantize", "--out", tmp_path / "all.csv")
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert len(rows) == 4 + 8 + 6
    assert {row["group"] for row in rows} <= {"rare", "ordinary", "busy"}


def test_what_cannot_be_is_refused_in_a_line(trace: Path, tmp_path: Path, refused: Run) -> None:
    of_trace = ("experts", trace, "--list")
    assert "cannot keep 5 and lose some; give 2 to 4" in refused(*of_trace, "prune", "--keep", 5)
    assert "there are math, code, other" in refused(*of_trace, "tune", "--domain", "law")
    assert "does not end in .json or .csv" in refused(*of_trace, "watch", "--out", "a.txt")
    assert "--later is of --list watch" in refused(*of_trace, "prune", "--later", trace)
    assert "--model is of --list prune and merge" in refused(*of_trace, "watch", "--model", "m")
    assert "--as is of --list tune, not of prune" in refused(*of_trace, "prune", "--as", "peft")
    assert "--keep is of --list prune and merge" in refused(*of_trace, "tune", "--keep", 3)
    assert "--by is of --list prune" in refused(*of_trace, "merge", "--by", "load")
    assert "--window is of --list watch" in refused(*of_trace, "quantize", "--window", 9)
    assert "--top-p is of --list tune" in refused(*of_trace, "watch", "--top-p", 0.2)
    assert "--texts is of the texts that --model" in refused(*of_trace, "prune", "--texts", 3)
    (tmp_path / "here.json").write_text("{}")
    line = refused(*of_trace, "prune", "--out", tmp_path / "here.json")
    assert line.endswith("here.json exists; delete it or choose another name")


def test_a_refused_list_leaves_no_file(trace: Path, tmp_path: Path, refused: Run) -> None:
    out = tmp_path / "new.json"
    refused("experts", trace, "--list", "tune", "--domain", "law", "--out", out)
    assert not list(tmp_path.glob("new*"))


def test_the_cost_is_measured_with_the_model_of_the_trace_alone(
    trace: Path, model: Path, refused: Run
) -> None:
    line = refused("experts", trace, "--list", "prune", "--keep", 3, "--model", model)
    assert "was captured with other weights" in line
