"""`routescope evaluate` on a tiny model: what it prints, writes and refuses."""

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from app import cli
from app.commands import evaluate as command
from app.commands.signals import INTERRUPTED
from app.studies.scoring import COLUMNS

CLI = typer.Typer()
CLI.command()(command.evaluate)
CHOICE = {"prompt": "1+1=", "choices": ["2", "3"], "answer": 0}
CODE = {"prompt": "x = 1", "tests": "assert x"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(CLI, [str(argument) for argument in arguments])


def jsonl(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.slow
def test_without_tasks_the_shipped_texts_are_read(folder: Path) -> None:
    result = run("--model", folder, "--limit", 5, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["domain"] for row in found["rows"]] == [
        "math",
        "code",
        "multilingual",
        "commonsense",
        "long",
        "other",
        "all",
    ]
    for row in found["rows"]:
        assert list(row) == COLUMNS
        assert 7.5 < row["estimate"] < 8.5  # an untrained model
        assert row["chance"] == 8
        assert row["verdict"] == "too little data"  # five texts each, some of one group
        assert row["low"] is row["high"] is None
    [task] = found["tasks"]
    assert (task["task"], task["used"], task["total"]) == ("heldout", 30, 1423)


def test_every_kind_of_task_at_once_and_a_csv(tmp_path: Path, folder: Path) -> None:
    questions = jsonl(tmp_path / "q.jsonl", *[CHOICE | {"domain": d} for d in "aab"])
    programs = jsonl(tmp_path / "p.jsonl", CODE)
    texts = jsonl(tmp_path / "t.jsonl", *[{"text": "some words"}] * 5)
    out = tmp_path / "rows.csv"
    given = [part for path in (questions, programs, texts) for part in ("--tasks", path)]
    result = run("--model", folder, *given, "--run-code", "--max-new-tokens", 4, "--out", out)
    assert result.exit_code == 0, result.output
    assert "q: 3 of 3 questions" in result.stdout
    assert "p: 1 of 1 problems; programs" in result.stdout
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [(row["task"], row["domain"], row["metric"]) for row in rows] == [
        ("q", "a", "acc"),
        ("q", "b", "acc"),
        ("q", "all", "acc"),
        ("q", "a", "acc_norm"),
        ("q", "b", "acc_norm"),
        ("q", "all", "acc_norm"),
        ("p", "all", "pass@1"),
        ("t", "all", "bits per byte"),
    ]
    assert all(row["chance"] == "0.5" for row in rows[:6])


def test_rows_are_printed_before_they_are_written(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = jsonl(tmp_path / "q.jsonl", CHOICE)

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "write_atomically", full)
    result = run("--model", folder, "--tasks", questions, "--out", tmp_path / "rows.csv")
    assert isinstance(result.exception, OSError)
    assert "q: 1 of 1 questions" in result.stdout


def test_a_name_that_is_a_formula_leaves_guarded(tmp_path: Path, folder: Path) -> None:
    questions = jsonl(tmp_path / "q.jsonl", CHOICE | {"domain": "=1+1"})
    out = tmp_path / "rows.csv"
    assert run("--model", folder, "--tasks", questions, "--out", out).exit_code == 0
    assert '"\'=1+1"' in out.read_text()


def test_rows_begin_with_a_byte_order_mark_where_a_spreadsheet_reads_them(
    tmp_path: Path, folder: Path
) -> None:
    out = tmp_path / "rows.csv"
    questions = jsonl(tmp_path / "q.jsonl", CHOICE)
    result = run("--model", folder, "--tasks", questions, "--out", out, "--bom")
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")


def test_code_is_not_run_unasked(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.studies.scoring.run_program", lambda *given, **more: pytest.fail("was run")
    )
    programs = jsonl(tmp_path / "p.jsonl", CODE)
    result = run("--model", folder, "--tasks", programs)
    assert result.exit_code == 0
    assert result.stdout == "p: not run; add --run-code to run what the model writes\n"
    as_json = json.loads(run("--model", folder, "--tasks", programs, "--json").stdout)
    assert as_json == {"rows": [], "tasks": [], "not_run": ["p"]}


def test_a_limit_says_how_many_of_how_many(tmp_path: Path, folder: Path) -> None:
    questions = jsonl(tmp_path / "q.jsonl", *[CHOICE] * 9)
    result = run("--model", folder, "--tasks", questions, "--limit", 4)
    assert "q: 4 of 9 questions" in result.stdout


def test_a_cut_prompt_is_counted(tmp_path: Path, folder: Path) -> None:
    questions = jsonl(tmp_path / "q.jsonl", CHOICE, CHOICE | {"prompt": "1" * 40})
    result = run("--model", folder, "--tasks", questions)
    assert "1 prompts cut on the left to the context of 16 tokens" in result.stdout


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> str:
    """The one line that the whole program prints before it ends with 2."""
    monkeypatch.setattr(sys, "argv", ["routescope", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_bad_line_is_refused_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = jsonl(tmp_path / "q.jsonl", CHOICE, {"prompt": "x", "choices": ["a", "b"]})
    line = refused(monkeypatch, capsys, "--model", tmp_path / "absent", "--tasks", path)
    assert line == "error: q.jsonl:2: field 'answer' is missing"


def test_a_checkpoint_of_another_config_is_refused(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"expert_dim": 16}))
    line = refused(monkeypatch, capsys, "--model", tmp_path, "--limit", 1)
    assert line.startswith(f"error: the weights in {tmp_path} do not fit its config: ")
    (tmp_path / "config.json").write_text(json.dumps({"n_routed_experts": 64}))
    line = refused(monkeypatch, capsys, "--model", tmp_path, "--limit", 1)
    assert "not a RouteScope model config: unknown fields ['n_routed_experts']" in line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--tasks", "absent.jsonl"], "there is no file absent.jsonl"),
        (["--out", "there.csv/rows.csv"], "there.csv is not a folder"),
        (["--out", "."], ". is a folder; name a file"),
        (["--out", "there.csv"], "there.csv exists; delete it or choose another name"),
        (["--include-path", "absent"], "there is no folder absent"),
        (["--samples", "2"], "2 samples at temperature 0"),
        (["--model", "absent"], "absent"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    assert problem in refused(monkeypatch, capsys, *arguments)


def test_a_broken_tokenizer_is_refused(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    line = refused(monkeypatch, capsys, "--model", tmp_path, "--limit", 1)
    assert "tokenizer.json is no tokenizer" in line


def test_without_the_harness_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "app.studies.lm_eval_model", raising=False)
    line = refused(monkeypatch, capsys, "--harness", "arc_easy")
    assert line == f"error: --harness needs a package: pip install {command.LM_EVAL}"


def test_interrupted_nothing_is_stored(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "evaluate_task", interrupted)
    out = tmp_path / "rows.csv"
    result = run("--model", folder, "--limit", 1, "--out", out)
    assert result.exit_code == INTERRUPTED
    assert not out.exists()


def test_a_dense_model_is_measured_too(tmp_path: Path) -> None:
    from model.checkpoint import save_model
    from model.config import dense_twin
    from model.transformer import Transformer
    from tests.bigram import bigram_model
    from tests.tokenizers import byte_tokenizer

    config = dense_twin(bigram_model(torch.full((257, 257), 1 / 257), context_length=16).config)
    save_model(Transformer(config), tmp_path)
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    questions = jsonl(tmp_path / "q.jsonl", CHOICE)
    assert run("--model", tmp_path, "--tasks", questions).exit_code == 0
