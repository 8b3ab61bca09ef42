"""`routescope evaluate`: bits per byte, multiple choice and generated code, beside chance."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from app.commands.capture import Json
from app.commands.loading import Device, Dtype, Model, model_folder
from app.commands.numbers import Temperature, count_option, seed_option
from app.commands.progress import progress_bar
from app.commands.signals import leaving, nothing
from app.studies.programs.runner import CodeLimits
from app.studies.programs.sandbox import open_doors
from app.studies.reader import CHECKPOINT, HELDOUT, Loading, Tracer, load_reader
from app.studies.scoring import COLUMNS, CodeSettings, evaluate_task, records, with_task
from data.outputs import require_new_file, write_atomically
from data.report import csv_text
from data.strict_json import json_text
from data.tasks.files import read_tasks
from data.tasks.task import Task

HELDOUT_TEXTS = 40  # of each domain, where neither a task nor a limit is given
LM_EVAL = "lm_eval==0.4.13"

Facts = dict[str, object]  # how much of a task was used
Measurement = tuple[pd.DataFrame, list[Facts]]


def evaluate(
    model: Model = CHECKPOINT,
    device: Device = None,
    dtype: Dtype = None,
    tasks: Annotated[
        list[Path] | None,
        typer.Option(help="jsonl, parquet, bigbench's task.json, HumanEval.jsonl.gz; repeatable."),
    ] = None,
    harness: Annotated[
        str | None, typer.Option(help="Names of lm_eval tasks, comma-separated.")
    ] = None,
    include_path: Annotated[
        Path | None, typer.Option(help="Folder of your own tasks for lm_eval.")
    ] = None,
    limit: Annotated[
        int | None, count_option("Questions per task, or texts per domain, drawn with --seed.")
    ] = None,
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code",
            help="Run the programs that the model writes: confined, where Linux lets us.",
        ),
    ] = False,
    samples: Annotated[int, count_option("Programs per problem.")] = 1,
    temperature: Temperature = 0.0,
    max_new_tokens: Annotated[int, count_option("Maximum number of tokens of a program.")] = 256,
    timeout: Annotated[int, count_option("Seconds a program may run.", most=86_400)] = 5,
    seed: Annotated[int, seed_option("Seed of sampling and intervals.")] = 0,
    out: Annotated[Path | None, typer.Option(help="New CSV file for the rows.")] = None,
    bom: Annotated[
        bool,
        typer.Option("--bom", help="Begin the CSV with a byte order mark, for spreadsheets."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on the shipped held-out texts or on your own tasks, beside chance.

    Example: routescope evaluate --tasks questions.jsonl --limit 200
    """
    code = CodeSettings(
        samples=samples,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        seed=seed,
        limits=CodeLimits(seconds=timeout),
    )
    chosen = read_tasks(tasks or ([] if harness else [HELDOUT]))
    require_folders(include_path, out)
    run_harness = harness_runner() if harness else None
    if not tasks and not harness and limit is None:
        limit = HELDOUT_TEXTS
    if run_code:
        announce_running(chosen, harness)
    waiting = [task.name for task in chosen if task.problems and not run_code]
    reader = load_reader(model_folder(model), Loading(device=device, dtype=dtype))
    with leaving(nothing):
        runnable = [task for task in chosen if task.name not in waiting]
        measurements = [measure(reader, task, code, limit=limit, seed=seed) for task in runnable]
        if run_harness:
            names = [name.strip() for name in (harness or "").split(",") if name.strip()]
            with progress_bar("lm_eval") as advance, redirect_stdout(sys.stderr):
                settings = {"include": include_path, "limit": limit, "run_code": run_code}
                measurements.append(run_harness(reader, names, on_progress=advance, **settings))
    report(measurements, waiting, out=out, bom=bom, as_json=as_json)


def require_folders(include_path: Path | None, out: Path | None) -> None:
    """Before anything long begins."""
    if include_path is not None and not include_path.is_dir():
        raise ValueError(f"there is no folder {include_path}")
    if out is not None:
        require_new_file(out)


def announce_running(tasks: list[Task], harness: str | None) -> None:
    """What a program could do here that it should not."""
    if sys.platform != "linux":
        raise ValueError("--run-code confines programs by means of Linux, which this is not")
    doors = open_doors() if any(task.problems for task in tasks) else []
    warnings = [f"programs can {door}" for door in doors]
    if harness:
        warnings.append("the harness runs the programs of its tasks itself, unconfined")
    for warning in warnings:
        print(f"warning: {warning}; see docs/evaluation.md", file=sys.stderr)


def harness_runner() -> Callable[..., Measurement]:
    try:
        from app.studies.lm_eval_model import harness_rows
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise ValueError(f"--harness needs a package: pip install {LM_EVAL}") from error
    return harness_rows


def measure(
    reader: Tracer, task: Task, code: CodeSettings, *, limit: int | None, seed: int
) -> Measurement:
    used = task if limit is None else task.sample(limit, seed=seed)
    with progress_bar(task.name) as advance:
        evaluated = evaluate_task(reader, used, code, seed=seed, on_progress=advance)
    fact: Facts = {"task": task.name, "unit": task.unit, "used": len(used), "total": len(task)}
    fact |= {"cut_prompts": evaluated.cut, "context": reader.model.context_length}
    if evaluated.outcomes is not None:
        fact["programs"] = evaluated.outcomes
    return with_task(evaluated.table, task.name), [fact]


def report(
    measurements: list[Measurement],
    waiting: list[str],
    *,
    out: Path | None,
    bom: bool,
    as_json: bool,
) -> None:
    tables = [table for table, _ in measurements] or [pd.DataFrame(columns=COLUMNS)]
    rows = pd.concat(tables, ignore_index=True)
    facts = [fact for _, of_task in measurements for fact in of_task]
    if as_json:
        print(json_text({"rows": records(rows), "tasks": facts, "not_run": waiting}))
    else:
        print_report(rows, facts, waiting)
    if out is not None:  # last: what was measured is not lost where it cannot be written
        write_atomically(out, csv_text(rows, bom=bom))


def print_report(rows: pd.DataFrame, facts: list[Facts], waiting: list[str]) -> None:
    if len(rows):
        print(rows.map(cell_text).to_string(index=False))
    for fact in facts:
        print(fact_line(fact))
    for name in waiting:
        print(f"{name}: not run; add --run-code to run what the model writes")


def cell_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is pd.NA else str(value)


def fact_line(fact: Facts) -> str:
    line = f"{fact['task']}: {fact['used']:,} of {fact['total']:,} {fact['unit']}"
    if cut := fact.get("cut_prompts"):
        line += f"; {cut:,} prompts cut on the left to the context of {fact['context']:,} tokens"
    programs = fact.get("programs")
    if isinstance(programs, dict):
        line += "; programs " + ", ".join(f"{count:,} {what}" for what, count in programs.items())
    return line
