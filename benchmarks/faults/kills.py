"""Commands killed with SIGKILL at a random time, and run again.

Each command works on a model of 16 dimensions, in a process forked from one that has imported
everything: a start takes no seconds. It commits after every few documents, so that a kill meets
many commits, and appends what it has committed to a file: that is what may not be lost.
"""

import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.routing import DOMAINS
from data.store import connect, open_trace, partial_path
from data.tokenizer import train_tokenizer
from data.tokens import TokenizedDocument, write_tokens

PROCESSES = multiprocessing.get_context("forkserver")
PRELOADED = ("app.cli", "app.studies.compression.costs", "model.capture", "model.training.trainer")
SHOWN = 10  # of what went wrong
VOCABULARY = 270
TABLES = (
    *("document", "token", "expert", "routing", "gate", "dropped", "finding"),
    *("document_load", "document_dropped", "document_k", "coactivation", "transition"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """Works in a folder of its own, a copy of `inputs`."""

    name: str
    inputs: Path
    arguments: tuple[str, ...]
    result: str  # in its folder
    contents: Callable[[Path], object]  # of a result: equal for every run
    resumed_with: tuple[str, ...] = ()  # where the command left something unfinished


@dataclass(slots=True)
class Outcomes:
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def add(self, what: str, command: Command, seconds: float, line: str) -> None:
        self.counts[what] += 1
        self.lines.append(f"{what}: {command.name} killed after {seconds:.3f} s: {line}")


def run(count: int, seed: int, work: Path) -> dict[str, int | float]:
    """`count` kills over the commands in turn."""
    PROCESSES.set_forkserver_preload(list(PRELOADED))
    draw = random.Random(seed)
    commands = made_commands(work)
    undisturbed = {command.name: measured(command, work) for command in commands}
    outcomes = Outcomes()
    for number in range(count):
        command = commands[number % len(commands)]
        expected, seconds = undisturbed[command.name]
        folder = work / "killed"
        killed_after = kill(command, folder, seconds, draw)
        judge(command, folder, expected, killed_after, outcomes)
        shutil.rmtree(folder)
    print(*outcomes.lines[:SHOWN], sep="\n", end="\n" * bool(outcomes.lines), file=sys.stderr)
    faults = {name: outcomes.counts[name] for name in ("lost", "doubled", "torn", "leftovers")}
    return {"kills": count, "resumed": outcomes.counts["resumed"]} | faults


# one command in one process


def started(folder: Path, arguments: Sequence[str]) -> multiprocessing.process.BaseProcess:
    process = PROCESSES.Process(target=work_in, args=(folder, tuple(arguments)))
    process.start()
    return process


def work_in(folder: Path, arguments: tuple[str, ...]) -> None:
    """What the forked process does."""
    output = os.open(folder.with_suffix(".output"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    import torch

    from app import cli

    torch.set_num_threads(1)
    make_small(folder)
    acknowledge(folder.with_suffix(".committed"))
    sys.argv = ["routescope", *arguments]
    cli.main()


def make_small(folder: Path) -> None:
    """Small transactions, windows, models and texts instead of those for users, and maps without
    UMAP; each text in a batch of its own, so that no number depends on where a capture resumed."""
    from analysis import projection
    from app.commands import train
    from app.studies.compression import texts
    from data import writer
    from model import capture
    from model.training import train_config

    writer.TRANSACTION_TOKENS = 100
    capture.BATCH_TOKENS["cpu"] = 1
    capture.WINDOW_BATCHES["cpu"] = 100
    train.chosen_config = lambda *given, **named: small_config()  # type: ignore[assignment]
    often = partial(train_config.TrainConfig, log_every=1, checkpoint_every=2)
    train_config.TrainConfig = often  # type: ignore[assignment, misc]
    projection.MIN_POINTS = 10**9  # UMAP compiles for most of a minute
    texts.HELDOUT = folder / "heldout.parquet"


def acknowledge(path: Path) -> None:
    """Documents that the file of a trace holds, and steps of a training, once they are safe."""
    from data.writer import TraceWriter
    from model.training import trainer

    committed = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    flush, save = TraceWriter.flush, trainer.save_progress

    def flushed(writer: TraceWriter) -> None:
        flush(writer)
        os.write(committed, b"%d\n" % writer.documents)

    def saved(*given: object, step: int, **named: object) -> None:
        save(*given, step=step, **named)  # type: ignore[arg-type]
        os.write(committed, b"%d\n" % step)

    TraceWriter.flush = flushed  # type: ignore[method-assign]
    trainer.save_progress = saved  # type: ignore[assignment]


def acknowledged(folder: Path) -> int:
    lines = folder.with_suffix(".committed").read_text().split() if committed_to(folder) else []
    return max(map(int, lines), default=0)


def committed_to(folder: Path) -> bool:
    return folder.with_suffix(".committed").is_file()


# what happens to it


def measured(command: Command, work: Path) -> tuple[object, float]:
    """(contents, seconds) of a run that nobody disturbs; the first one warms up."""
    for attempt in ("first", "undisturbed"):
        folder = fresh(command, work / f"{command.name}-{attempt}")
        begun = time.perf_counter()
        finish(command, folder, ())
        seconds = time.perf_counter() - begun
    return (command.contents(folder / command.result), names(folder)), seconds


def fresh(command: Command, folder: Path) -> Path:
    for left in (folder.with_suffix(".output"), folder.with_suffix(".committed")):
        left.unlink(missing_ok=True)
    shutil.copytree(command.inputs, folder)
    return folder


def finish(command: Command, folder: Path, more: tuple[str, ...]) -> None:
    process = started(folder, [*command.arguments, *more])
    process.join()
    if process.exitcode:
        raise ValueError(folder.with_suffix(".output").read_text().strip().splitlines()[-1])


def kill(command: Command, folder: Path, seconds: float, draw: random.Random) -> float:
    """Drawn within what a whole run takes; where the command was faster, drawn anew."""
    while True:
        fresh(command, folder)
        after = draw.uniform(0, seconds)
        process = started(folder, command.arguments)
        process.join(after)
        process.kill()
        process.join()
        if process.exitcode == -9:
            return after
        shutil.rmtree(folder)


def judge(
    command: Command, folder: Path, expected: object, killed_after: float, outcomes: Outcomes
) -> None:
    report = partial(outcomes.add, command=command, seconds=killed_after)
    try:
        more = what_is_kept(command, folder, report)
        outcomes.counts["resumed"] += bool(more) or acknowledged(folder) > 0
        if command.name == "train" or not (folder / command.result).exists():
            finish(command, folder, more)
        contents, left = command.contents(folder / command.result), names(folder)
    except Exception as error:
        report("torn", line=f"{type(error).__name__}: {error}")
        return
    if contents != expected[0]:  # type: ignore[index]
        report("torn", line="the result differs from that of a run that nobody disturbed")
    if more_left := left - expected[1]:  # type: ignore[index]
        report("leftovers", line=", ".join(sorted(more_left)))


def what_is_kept(command: Command, folder: Path, report: Callable[..., None]) -> tuple[str, ...]:
    """Checks what was acknowledged; the options that the next run needs."""
    safe, result = acknowledged(folder), folder / command.result
    if command.name == "train":
        kept = saved_step(result)
    elif command.name == "capture" and not result.exists():
        if not partial_path(result).exists():
            kept = 0
        else:
            with connect(partial_path(result), read_only=True) as con:
                [(kept, different)] = con.execute(
                    "SELECT count(*), count(DISTINCT doc_id) FROM document"
                ).fetchall()
            if kept > different:
                report("doubled", line=f"{kept} documents, {different} of them different")
    else:
        return ()
    if kept < safe:
        report("lost", line=f"{safe} were acknowledged, {kept} are there")
    return command.resumed_with if partial_path(result).exists() else ()


def saved_step(training: Path) -> int:
    from safetensors import safe_open

    progress = training / "progress.safetensors"
    if not progress.exists():
        return 0
    with safe_open(str(progress), "np") as file:
        return int(file.metadata()["step"])


def names(folder: Path) -> set[str]:
    """Of all files, hidden ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# contents


def trace_contents(path: Path) -> dict[str, str]:
    with open_trace(path) as con:
        return {
            table: sha256(repr(con.execute(f"FROM {table}").fetchall()).encode()).hexdigest()
            for table in TABLES
        }


def training_contents(folder: Path) -> dict[str, object]:
    lines = [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]
    log = [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]
    return weights(folder) | {"log": log, "bits": (folder / "evaluation.json").read_text()}


def model_contents(folder: Path) -> dict[str, object]:
    table = (folder / "compression.csv").read_text()
    return weights(folder) | {"config": (folder / "config.json").read_text(), "costs": table}


def weights(folder: Path) -> dict[str, object]:
    files = sorted(folder.glob("model-*.safetensors")) + sorted(folder.glob("snapshots.*"))
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in files}


def map_contents(trace: Path) -> dict[str, str]:
    """Of the trace, which stays as it is, and of the tables beside it."""
    found = {trace.name: sha256(trace.read_bytes()).hexdigest()}
    for path in sorted(trace.parent.glob("*.parquet")):
        found[path.name] = repr(pq.read_table(path).replace_schema_metadata().to_pydict())
    return found


# inputs


def small_config():  # type: ignore[no-untyped-def]  # of torch, which only a forked process has
    from model.config import ModelConfig

    return ModelConfig(
        vocab_size=VOCABULARY,
        context_length=32,
        num_layers=3,
        hidden_dim=16,
        num_heads=2,
        head_dim=8,
        dense_ffn_dim=24,
        first_dense_layers=1,
        num_experts=8,
        top_k=2,
        num_shared_experts=1,
        expert_dim=8,
        expert_loss_weight=0.01,
        init_std=0.1,
        tied_embeddings=True,
    )


def write_model(folder: Path) -> None:
    """In a process of its own."""
    from model.checkpoint import save_model
    from model.transformer import Transformer

    model = Transformer(small_config())
    model.initialize(seed=0)
    save_model(model, folder)


def made_commands(work: Path) -> list[Command]:
    inputs = work / "inputs"
    (inputs / "model").mkdir(parents=True)
    process = PROCESSES.Process(target=write_model, args=(inputs / "model",))
    process.start()
    process.join()
    tokenizer = train_tokenizer(["the cat sat on the mat, the dog on the log. " * 9], VOCABULARY)
    tokenizer.save(str(inputs / "model" / "tokenizer.json"))
    write_texts(inputs)
    capture = Command(
        "capture",
        inputs,
        ("capture", "prompts.jsonl", "--model", "model", "--out", "made.duckdb"),
        "made.duckdb",
        trace_contents,
        ("--resume",),
    )
    traces = with_traces(inputs, work / "traces")
    merge = ("merge", "1.duckdb", "2.duckdb", "--out", "made.duckdb")
    train = ("train", "run", "--corpus", "corpus", "--steps", "12", "--batch-size", "2")
    prune = ("prune", "model", "--out", "small", "--by", "saliency", "--share", "0.25")
    return [
        capture,
        Command("train", inputs, (*train, "--warmup-steps", "2"), "run", training_contents),
        Command("merge", traces, merge, "made.duckdb", trace_contents),
        Command(
            "prune",
            inputs,
            (*prune, "--text", "few.jsonl", "--texts", "2"),
            "small",
            model_contents,
        ),
        Command("project", traces, ("project", "few.duckdb"), "few.duckdb", map_contents),
    ]


def write_texts(folder: Path) -> None:
    words = ["the", "cat", "sat", "on", "the", "mat", "the", "dog", "on", "the", "log"]
    draw = random.Random(0)
    texts = [" ".join(draw.choices(words, k=6)) + f" {number}" for number in range(60)]
    rows = [
        {"text": text, "domain": DOMAINS[number % 2], "group": str(number)}
        for number, text in enumerate(texts)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts.jsonl").write_text(lines, encoding="utf-8")
    (folder / "few.jsonl").write_text("".join(lines.splitlines(True)[:12]), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows[20:40]), folder / "heldout.parquet")
    (folder / "corpus").mkdir()
    for split in ("train", "heldout"):
        documents = [
            TokenizedDocument(np.arange(place, place + 240, dtype=np.uint16), domain, 480)
            for place, domain in enumerate(DOMAINS)
        ]
        write_tokens(folder / "corpus", split, documents, DOMAINS)
    shutil.copyfile(folder / "model" / "tokenizer.json", folder / "corpus" / "tokenizer.json")


def with_traces(inputs: Path, folder: Path) -> Path:
    """The two parts of the prompts, and a short trace."""
    made = folder.with_name("tracing")
    shutil.copytree(inputs, made)
    folder.mkdir()
    model = ("--model", "model")
    for name, options in (
        ("1", ("prompts.jsonl", "--part", "1/2")),
        ("2", ("prompts.jsonl", "--part", "2/2")),
        ("few", ("few.jsonl",)),
    ):
        out = f"{name}.duckdb"
        process = started(made, ["capture", *options, *model, "--out", out])
        process.join()
        shutil.move(made / out, folder / out)
    return folder
