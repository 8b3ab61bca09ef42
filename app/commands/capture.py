"""`routescope capture`: texts through a model into a trace."""

import json
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.progress import documents_bar
from app.studies.reader import (
    CHECKPOINT,
    Sampling,
    Tracer,
    load_tracer,
)
from data.prompts import read_documents, summarize_prompts
from data.routing import Document
from data.store import TraceStore, partial_path

if TYPE_CHECKING:
    from model.capture import Captured

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
INTERRUPTED = 130


def capture(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="UTF-8. txt: one prompt a line. csv, jsonl, parquet: a column `text` or `prompt`, "
            "and `domain` if there are labels."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The trace to write, a .duckdb file.")],
    model: Annotated[Path, typer.Option(help="Folder of a model.")] = CHECKPOINT,
    generate: Annotated[
        int, typer.Option(min=0, help="Continue every prompt by so many tokens; 0: only read it.")
    ] = 0,
    temperature: Annotated[
        float, typer.Option(help="Of the continuation; 0 takes the likeliest token.")
    ] = 1.0,
    top_p: Annotated[float, typer.Option(help="Sample from this much of the probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the continuation.")] = 0,
    part: Annotated[
        str | None,
        typer.Option(help="I/N: every N-th prompt from the I-th; `routescope merge` joins parts."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished trace.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run prompts through a model and store where every token was routed.

    Example: routescope capture prompts.jsonl --out traces/mine.duckdb
    """
    sampling = None
    if generate:
        sampling = Sampling(new_tokens=generate, temperature=temperature, top_p=top_p, seed=seed)
    first, parts = part_of(part)
    summary = summarize_prompts(prompts)
    tracer = load_tracer(model)
    described = {"file": prompts.name, "sha256": summary.sha256, "skipped_rows": summary.skipped}
    if part is not None:
        described["part"] = part
    description = tracer.description(out.stem, prompts=described, sampling=sampling)
    begin = TraceStore.resume if resume else TraceStore.create
    figures = write_trace(
        tracer,
        (read for read in read_documents(prompts) if read.doc_id % parts == first),
        begin(out, description),
        total=len(range(first, summary.documents, parts)),
        sampling=sampling,
    )
    report(figures | {"skipped_rows": summary.skipped, "path": str(out)}, as_json=as_json)


def part_of(part: str | None) -> tuple[int, int]:
    """(place, parts), the place counted from 0; all is one part."""
    if part is None:
        return 0, 1
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", part)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"--part is {part!r}; give I/N, such as 1/4, 2/4, 3/4 and 4/4")
    return int(match[1]) - 1, int(match[2])


def write_trace(
    tracer: Tracer,
    documents: Iterable[Document],
    store: TraceStore,
    *,
    total: int,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    """Fill the store under a progress bar; the figures of the summary."""
    started = time.perf_counter()
    stored = store.stored_doc_ids()
    try:
        with store, documents_bar() as count:
            count(0, len(stored), total)
            captured = tracer.capture(
                documents,
                store,
                sampling=sampling,
                stored=stored,
                on_progress=lambda tokens, done: count(tokens, len(stored) + done, total),
            )
    except KeyboardInterrupt:
        explain_interruption(store.path)
        raise typer.Exit(INTERRUPTED) from None
    seconds = time.perf_counter() - started
    return summary_figures(captured, seconds=seconds, resumed=len(stored))


def summary_figures(captured: "Captured", *, seconds: float, resumed: int = 0) -> dict[str, Any]:
    return asdict(captured) | {
        "resumed_documents": resumed,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(captured.tokens / seconds),
    }


def explain_interruption(path: Path) -> None:
    partial = partial_path(path)
    if partial.exists():
        line = f"interrupted; {partial} holds what is done: add --resume to go on"
    else:
        line = "interrupted before anything was stored"
    print(line, file=sys.stderr)


def report(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    print(
        f"{figures['path']}: {figures['documents']:,} documents, {figures['tokens']:,} tokens "
        f"in {figures['seconds']} s ({figures['tokens_per_second']:,} tokens/s)"
    )
    if figures["resumed_documents"]:
        print(f"{figures['resumed_documents']:,} documents were stored before")
    if figures["truncated_documents"]:
        print(
            f"{figures['truncated_documents']:,} documents were longer than the context: "
            f"{figures['truncated_tokens']:,} tokens cut"
        )
    if figures.get("skipped_rows"):
        print(f"{figures['skipped_rows']:,} rows without text skipped")
