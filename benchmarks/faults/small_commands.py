"""Small work for commands: what they read, how they are run, and what they must have made.

A command runs in a process that was forked from one with everything imported. It commits after
every few documents and appends what it has committed to a file.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.routing import DOMAINS
from data.store import open_trace
from data.tokenizer import train_tokenizer
from data.tokens import TokenizedDocument, write_tokens
from model.config import ModelConfig
from tests.models import small_config

PRELOADED = ("app.cli", "app.studies.compression.costs", "model.capture", "model.training.trainer")
VOCABULARY = 270
TABLES = (
    *("document", "token", "expert", "routing", "gate", "dropped", "finding"),
    *("document_load", "document_dropped", "document_k", "coactivation", "transition"),
)
Once = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Command:
    """Works in a folder of its own, a copy of `inputs`."""

    name: str
    inputs: Path
    arguments: tuple[str, ...]
    result: str  # in its folder
    contents: Callable[[Path], dict[str, object]]  # of a result: equal for every run
    resumed_with: tuple[str, ...] = ()  # where the command left something unfinished
    repeats: bool = False  # may run again where its result is there


# in its process


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
    from analysis import layout
    from app.commands import train
    from app.studies.compression import texts
    from data import writer
    from model import capture, deepseek_moe
    from model.training import train_config

    writer.TOKENS = 100
    deepseek_moe.BATCH_TOKENS["cpu"] = 0
    capture.ALONE_TOKENS = 1
    capture.WINDOW_BATCHES["cpu"] = 100
    train.chosen_config = lambda *given, **named: model_config()
    often = partial(train_config.TrainConfig, log_every=1, checkpoint_every=2)
    train_config.TrainConfig = often  # type: ignore[assignment, misc]
    layout.MIN_POINTS = 10**9  # UMAP compiles for most of a minute
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

    TraceWriter.flush = flushed  # type: ignore[method-assign, assignment]
    trainer.save_progress = saved


# contents


def trace_contents(path: Path) -> dict[str, object]:
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
    return {file.name: tensors(file.read_bytes()) for file in files}


def tensors(file: bytes) -> str:
    """The order of what its header says is another in every process."""
    begin = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:begin]), sort_keys=True)
    return sha256(header.encode() + file[begin:]).hexdigest()


def map_contents(trace: Path) -> dict[str, object]:
    """Of the trace, which stays as it is, and of the tables beside it."""
    found: dict[str, object] = {trace.name: sha256(trace.read_bytes()).hexdigest()}
    for path in sorted(trace.parent.glob("*.parquet")):
        found[path.name] = repr(pq.read_table(path).replace_schema_metadata().to_pydict())
    return found


# inputs


def model_config() -> ModelConfig:
    return replace(small_config(), vocab_size=VOCABULARY, context_length=32)


def write_model(folder: Path) -> None:
    from model.checkpoint import save_model
    from model.transformer import Transformer

    model = Transformer(model_config())
    model.initialize(seed=0)
    save_model(model, folder)


def made_commands(work: Path, once: Once) -> list[Command]:
    """`once`: calls a function in a process of its own."""
    inputs = work / "inputs"
    (inputs / "model").mkdir(parents=True)
    once(write_model, inputs / "model")
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
    traces = with_traces(inputs, work / "traces", once)
    merge = ("merge", "1.duckdb", "2.duckdb", "--out", "made.duckdb")
    train = ("train", "run", "--corpus", "corpus", "--steps", "12", "--batch-size", "2")
    prune = ("prune", "model", "--out", "small", "--by", "saliency", "--share", "0.25")
    return [
        capture,
        Command(
            "train", inputs, (*train, "--warmup-steps", "2"), "run", training_contents, repeats=True
        ),
        Command("merge", traces, merge, "made.duckdb", trace_contents),
        Command(
            "prune",
            inputs,
            (*prune, "--text", "few.jsonl", "--texts", "2"),
            "small",
            model_contents,
        ),
        Command(
            "project",
            traces,
            ("project", "few.duckdb"),
            "few.duckdb",
            map_contents,
            repeats=True,
        ),
    ]


def write_texts(folder: Path) -> None:
    words = ["the", "cat", "sat", "on", "mat", "dog", "log"]
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


def with_traces(inputs: Path, folder: Path, once: Once) -> Path:
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
        once(work_in, made, ("capture", *options, *model, "--out", out))
        shutil.move(made / out, folder / out)
    return folder
