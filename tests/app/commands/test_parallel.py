"""`--parallel`: several processes write what one process writes, or nothing."""

import json
import os
import re
import shutil
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from app.cli import app
from app.studies.reader import CHECKPOINT
from data.store import open_trace
from data.tokens import TokenizedDocument, write_tokens
from model.checkpoint import load_model, save_model
from model.transformer import Transformer
from tests import torchrun
from tests.app.commands.alike import assert_alike, description
from tests.models import small_config
from tests.torchrun import ROUTESCOPE

PROMPTS = "".join(f"Prompt {n}: what is {n} + {n * n}? Then why?\n" for n in range(7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with the shipped tokenizer."""
    path = tmp_path_factory.mktemp("model")
    model = Transformer(replace(small_config(), vocab_size=16_384, context_length=64))
    model.initialize(seed=0)
    save_model(model, path, dtype=torch.float32)
    shutil.copyfile(CHECKPOINT / "tokenizer.json", path / "tokenizer.json")
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS)
    return path


def alone(*arguments: object) -> Result:
    """On one thread, as each of several processes: another number adds up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])
    finally:
        torch.set_num_threads(threads)


def together(*arguments: object) -> str:
    return torchrun.run(2, ROUTESCOPE, *map(str, arguments), "--parallel")


def refused(*arguments: object) -> list[str]:
    """The lines of errors that two processes print themselves."""
    launcher = torchrun.start(2, ROUTESCOPE, *map(str, arguments), "--parallel")
    code, _, errors = torchrun.outcome(launcher)
    assert code != 0
    return [line for line in errors.splitlines() if line.startswith("error: ")]


def rounding(one: Path, prompts: Path) -> float:
    """How far losses of one process are from its own when other texts are beside each: the most
    of two ways to share the texts out."""
    return max(float(np.abs(losses(one) - in_parts(one, prompts, of)).max()) for of in (2, 5))


def in_parts(one: Path, prompts: Path, number: int) -> np.ndarray:
    """Losses of one process that reads the texts in so many parts."""
    parts = [one.with_name(f"{part}_of_{number}.duckdb") for part in range(1, number + 1)]
    for part, path in enumerate(parts, start=1):
        read = alone("capture", prompts, "--out", path, "--part", f"{part}/{number}")
        assert read.exit_code == 0
    merged = one.with_name(f"all_of_{number}.duckdb")
    assert alone("merge", *parts, "--out", merged).exit_code == 0
    return losses(merged)


def losses(trace: Path) -> np.ndarray:
    with open_trace(trace) as con:
        return np.array(con.execute("SELECT loss FROM token").fetchall())


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_processes_capture_with_the_shipped_model_what_one_does(
    tmp_path: Path, prompts: Path
) -> None:
    """Losses under its logits, of up to 30, differ by more than 1e-5 on some processors where
    nothing but the texts of a batch changes: then by no more than twice as much."""
    (tmp_path / "two").mkdir()
    one, two = tmp_path / "t.duckdb", tmp_path / "two" / "t.duckdb"
    assert alone("capture", prompts, "--out", one).exit_code == 0
    figures = json.loads(together("capture", prompts, "--out", two, "--json"))
    assert figures["documents"] == 7
    assert [path.name for path in two.parent.iterdir()] == ["t.duckdb"]
    steps = rounding(one, prompts)
    assert steps < 5e-5
    assert_alike(one, two, loss=max(1e-5, 2 * steps))
    expected, given = description(one), description(two)
    assert given["config"]["capture"].pop("ranks") == 2
    assert given == expected


@pytest.mark.slow
def test_each_process_captures_the_part_of_its_rank(
    tmp_path: Path, prompts: Path, folder: Path
) -> None:
    one, two = tmp_path / "t.duckdb", tmp_path / "two" / "t.duckdb"
    two.parent.mkdir()
    assert alone("capture", prompts, "--out", one, "--model", folder).exit_code == 0
    options = ["--out", two, "--model", folder, "--part", "rank"]
    torchrun.run(2, ROUTESCOPE, "capture", str(prompts), *map(str, options))
    shards = sorted(two.parent.iterdir())
    assert [path.name for path in shards] == ["t.1-of-2.duckdb", "t.2-of-2.duckdb"]
    assert alone("merge", *shards, "--out", two).exit_code == 0
    assert_alike(one, two)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_process_without_prompts_computes_for_the_one_that_continues_some(
    tmp_path: Path, prompts: Path, folder: Path
) -> None:
    options = ["--model", folder, "--part", "2/7", "--generate", "3"]  # one of the seven prompts
    one, two = tmp_path / "one.duckdb", tmp_path / "two.duckdb"
    assert alone("capture", prompts, "--out", one, *options).exit_code == 0
    together("capture", prompts, "--out", two, *options)
    assert_alike(one, two)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_all_processes_refuse_is_said_once(
    tmp_path: Path, prompts: Path, folder: Path
) -> None:
    out = tmp_path / "t.duckdb"
    out.touch()
    lines = refused("capture", prompts, "--out", out, "--model", folder)
    assert lines == [f"error: {out} exists; delete it or choose another name"]


def rank_pid(launcher: int, rank: int) -> int:
    """Of a process that a launcher started, by its environment."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"rank {rank} is not among {children}")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_killed_process_leaves_nothing_and_ends_the_others(tmp_path: Path, folder: Path) -> None:
    prompts, out = tmp_path / "many.txt", tmp_path / "t.duckdb"
    prompts.write_text(PROMPTS * 10_000)
    command = ["capture", str(prompts), "--out", str(out), "--model", str(folder), "--parallel"]
    launcher = torchrun.start(2, ROUTESCOPE, *command)
    deadline = time.monotonic() + torchrun.SECONDS
    while not list(tmp_path.glob("t.duckdb.*.ranks/1.duckdb.partial")):
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(rank_pid(launcher.pid, 1), signal.SIGKILL)
    killed = time.monotonic()
    code, _, errors = torchrun.outcome(launcher)
    assert code != 0
    assert time.monotonic() - killed < 60
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.match("error: rank 0 of 2 .*restart all ranks", lines[0])
    assert [path.name for path in tmp_path.iterdir()] == ["many.txt"]


@pytest.mark.parametrize(
    "command", [["capture", "p.txt", "--out", "t.duckdb"], ["train", "run", "--corpus", "corpus"]]
)
def test_without_torchrun_it_says_how_to_start(command: list[str]) -> None:
    refusal = alone(*command, "--parallel").exception
    assert isinstance(refusal, ValueError)
    line = f"torchrun --standalone --nproc-per-node 2 $(which routescope) {command[0]} "
    assert line in str(refusal)
    assert "\n" not in str(refusal)


def test_nothing_unfinished_is_kept_to_resume() -> None:
    result = alone("capture", "p.txt", "--out", "t.duckdb", "--parallel", "--resume")
    assert "--parallel keeps nothing unfinished" in str(result.exception)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_processes_train_a_whole_model(tmp_path: Path) -> None:
    for split in ("train", "heldout"):
        documents = [TokenizedDocument(np.arange(600, dtype=np.uint16), "math", 1200)]
        write_tokens(tmp_path, split, documents, ("math",))
    config = replace(small_config(), vocab_size=1_000, context_length=64)
    preset, run = tmp_path / "preset", tmp_path / "run"
    preset.mkdir()
    (preset / "config.json").write_text(json.dumps(asdict(config)))
    options = ["--preset", preset, "--steps", "2", "--batch-size", "2", "--warmup-steps", "1"]
    summary = json.loads(together("train", run, "--corpus", tmp_path, *options, "--json"))
    assert summary["finished"]
    assert summary["bits_per_byte"]["all"] == pytest.approx(5, rel=0.1)  # ln(1000) nats a token
    assert [len(moe.experts.down_EFD) for moe in load_model(run).moe_layers()] == [8, 8]
