"""`routescope place`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from data.placement_files import read_rows
from tests.app.shell import Run
from tests.placed import write_paired_trace


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paired") / "paired.duckdb"
    write_paired_trace(path)
    return path


def place(trace: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["place", str(trace), "--gpus", "4", *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_every_policy_and_what_moves_is_printed(trace: Path) -> None:
    printed = place(trace, "--redundant", "4", "--expert-bytes", "1000")
    assert "measured on 24 groups of texts that did not make the maps" in printed
    assert "busiest GPU: random maps" in printed
    assert "\n *EPLB" in printed
    assert "of 24 experts, " in printed
    assert "earlier plan" in printed


def test_json_holds_the_tables(trace: Path) -> None:
    value = json.loads(place(trace, "--json", "--policy", "greedy"))
    assert value["policy"] == "greedy"
    assert {row["plan"] for row in value["policies"]} >= {"current", "greedy", "coactivation"}
    assert [row["layer_id"] for row in value["layers"]] == [0, 1]
    assert {row["plan"] for row in value["drift"]} >= {"today's plan"}
    pairs = value["traffic"]["GPU"]
    assert set(pairs) == {"before", "after"}
    assert [len(row) for row in pairs["after"]] == [4] * 4
    assert "node" not in value["traffic"]
    assert "tokens that two GPUs serve, mean over pairs" in place(trace)


@pytest.mark.parametrize(("form", "devices"), [("sglang", None), ("vllm-ascend", 4)])
def test_the_map_is_written_and_is_the_next_map_in_use(
    trace: Path, tmp_path: Path, form: str, devices: int | None
) -> None:
    out = tmp_path / "map.json"
    place(trace, "--out", str(out), "--as", form)
    rows = read_rows(out)
    assert rows.devices == devices
    assert [sorted(row) for row in rows.ids] == [list(range(8))] * 2
    again = CliRunner().invoke(app, ["place", str(trace), "--gpus", "4", "--current", str(out)])
    assert "moves 0 of 16 experts" in again.stdout
    assert "A map in use that was made of these very texts looks better" in again.stderr


def test_a_later_trace_is_measured_too(trace: Path, tmp_path: Path) -> None:
    write_paired_trace(tmp_path / "later.duckdb", documents=30)
    value = json.loads(place(trace, "--json", "--today", str(tmp_path / "later.duckdb")))
    assert value["drift"][0]["n_groups"] == 15


def test_without_drift_the_map_is_written_all_the_same(tmp_path: Path) -> None:
    """Each half of the texts in time has one of the domain."""
    write_paired_trace(tmp_path / "few.duckdb", documents=4)
    out = tmp_path / "map.json"
    options = ("place", str(tmp_path / "few.duckdb"), "--gpus", "4", "--domain", "a")
    result = CliRunner().invoke(app, [*options, "--out", str(out)])
    assert result.exit_code == 0
    assert (
        "no drift to show: no choice of a is in the texts that would judge a map" in result.stderr
    )
    assert "measured on 1 group of texts" in result.stdout
    assert "later texts" not in result.stdout
    assert out.exists()
    assert json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)["drift"] is None


def test_a_map_that_nobody_gave_is_not_called_the_one_in_use(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.json"
    printed = place(trace, "--out", str(out))
    assert "in order (no map given)" in printed
    assert "map in use" not in printed
    assert "map in use" in place(trace, "--current", str(out))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--redundant", "2"), "do not spread evenly over 4 GPUs; give 0 or 4 redundant experts"),
        (("--nodes", "3"), "4 GPUs do not spread evenly over 3 nodes"),
        (("--domain", "c"), "has no domain 'c'; it has a, b"),
        (("--phase", "decode"), "decode cannot be told apart"),
        (("--out", "map.txt"), "map.txt does not end in .json"),
        (("--policy", "best"), "'best' is not one of"),
        (("--current", "none.json"), "none.json"),
    ],
)
def test_what_cannot_be_is_one_line(
    trace: Path, refused: Run, options: tuple[str, ...], message: str
) -> None:
    assert message in refused("place", str(trace), "--gpus", "4", *options)
