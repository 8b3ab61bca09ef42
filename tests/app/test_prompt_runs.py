"""Runs of the page Prompts on the disk: whole or not there, named, renamed, deleted."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from app import prompt_runs
from app.prompt_runs import FACTS, TEXTS, TRACE
from tests.app.runs import write_run


def titles() -> list[str]:
    return [run.title for run in prompt_runs.listed()[0]]


def test_a_run_is_read_as_it_was_write_run(traces: Path) -> None:
    run = write_run(1)
    assert prompt_runs.find(run.id) == run
    assert run.text(0) == "as <b>given</b>"
    assert run.is_kept
    with pytest.raises(ValueError, match=r"texts.json has no text 1; delete its folder"):
        run.text(1)


@pytest.mark.parametrize(
    "name", ["", "..", "../prompt_runs", "a/b", "0" * 31, "0" * 33, f"{1:032X}\n", "g" * 32]
)
def test_the_id_of_a_link_is_never_a_path(name: str, traces: Path) -> None:
    write_run(1)
    assert prompt_runs.find(name) is None


def test_the_newest_run_is_the_first_and_what_is_on_its_way_is_none(traces: Path) -> None:
    assert prompt_runs.listed() == ([], [])
    write_run(1)
    write_run(3)
    write_run(2)
    (prompt_runs.folder() / f".{9:032x}.abcd0123.partial").mkdir()
    assert titles() == ["text 3", "text 2", "text 1"]
    assert prompt_runs.listed()[1] == []


def test_what_is_damaged_or_foreign_is_named_and_stays(traces: Path) -> None:
    half, bad, odd, untyped, timeless = (write_run(number) for number in (1, 2, 3, 4, 6))
    (half.folder / TRACE).unlink()
    (bad.folder / FACTS).write_text("{")
    (odd.folder / FACTS).write_text("[]")
    facts = json.loads((untyped.folder / FACTS).read_text())
    (untyped.folder / FACTS).write_text(json.dumps(facts | {"tokens": "9"}))
    (timeless.folder / FACTS).write_text(json.dumps(facts | {"created": "today"}))
    (prompt_runs.folder() / "notes.txt").write_text("mine")
    os.symlink(traces, prompt_runs.folder() / f"{9:032x}")
    write_run(5)
    runs, others = prompt_runs.listed()
    assert [run.title for run in runs] == ["text 5"]
    reasons = [other.split(" (", 1)[1] for other in others]
    assert reasons[0] == "it has no run.duckdb; delete its folder)"
    assert reasons[1].startswith("run.json is not JSON")
    assert reasons[2] == "run.json is not a JSON object; delete its folder)"
    assert reasons[3] == "tokens in run.json is no int; delete its folder)"
    assert reasons[4] == "created in run.json is no time; delete its folder)"
    assert reasons[5:] == ["not a run)", "not a run)"]
    prompt_runs.delete(runs)
    assert len(list(prompt_runs.folder().iterdir())) == 7
    with pytest.raises(ValueError, match=r"it has no run\.duckdb"):
        prompt_runs.find(half.id)


def test_a_new_title_is_one_line(traces: Path) -> None:
    run = write_run(1)
    assert prompt_runs.rename(run, " two\n words\u202e ").title == "two words"
    assert titles() == ["two words"]
    for title in ("", " \n", "x" * 81):
        with pytest.raises(ValueError, match="a title has 1 to 80 characters, this one"):
            prompt_runs.rename(run, title)
    prompt_runs.delete([run])
    with pytest.raises(ValueError, match="deleted meanwhile"):
        prompt_runs.rename(run, "late")
    assert titles() == []


def test_a_run_is_deleted_once_by_two(traces: Path) -> None:
    run, other = write_run(1), write_run(2)
    prompt_runs.delete([run])
    prompt_runs.delete([run])
    assert [path.name for path in prompt_runs.folder().iterdir()] == [other.id]


def test_the_newest_are_kept(traces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        write_run(number)
    monkeypatch.setattr(prompt_runs, "KEPT", 3)
    prompt_runs.delete_old(prompt_runs.folder())
    assert titles() == ["text 3", "text 2", "text 1"]


def test_the_newest_run_stays_however_large(traces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write_run(number, size=10_000)
    monkeypatch.setattr(prompt_runs, "KEPT_GIGABYTES", 25_000 / 1e9)
    prompt_runs.delete_old(prompt_runs.folder())
    assert titles() == ["text 2", "text 1"]
    monkeypatch.setattr(prompt_runs, "KEPT_GIGABYTES", 1 / 1e9)
    prompt_runs.delete_old(prompt_runs.folder())
    assert titles() == ["text 2"]


def test_a_run_elsewhere_is_not_kept(traces: Path, tmp_path: Path) -> None:
    assert not replace(write_run(1), folder=tmp_path / "job" / f"{1:032x}").is_kept
    assert (write_run(2).folder / TEXTS).is_file()


def test_what_was_given_to_a_run_is_there_until_it_ends(traces: Path) -> None:
    names = [f"{number:032x}" for number in range(prompt_runs.KEPT_BEGUN + 1)]
    for second, name in enumerate(names):
        prompt_runs.begin(prompt_runs.folder() / name, {"values": {"pasted": name}})
        os.utime(prompt_runs.folder() / f".{name}.begun", (second, second))
    assert not prompt_runs.has_begun(names[0])  # only the newest are kept
    assert prompt_runs.given_to(names[1]) == {"values": {"pasted": names[1]}}
    assert prompt_runs.listed() == ([], [])
    assert not prompt_runs.has_begun("../x")
    prompt_runs.end(prompt_runs.folder() / names[1])
    assert not prompt_runs.has_begun(names[1])
    prompt_runs.forget_begun()
    assert list(prompt_runs.folder().iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_begun(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file in its place")
    out = tmp_path / "kept" / f"{1:032x}"
    prompt_runs.begin(out, {})
    prompt_runs.end(out)
