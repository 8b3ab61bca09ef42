"""`routescope capture`: texts through a model into a trace."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.queries import findings
from app.commands import capture_options as options
from app.commands.capture_prompts import described_prompts, every, part_of
from app.commands.findings import print_report
from app.commands.loading import Device, Dtype, Model, model_folder
from app.commands.numbers import OwnTemperature, OwnTopP
from app.commands.parallel import ranks_of_torchrun
from app.commands.progress import documents_bar
from app.commands.signals import leaving
from app.studies.parallel_capture import capture_in_parallel
from app.studies.reader import CHECKPOINT, Loading, Sampling, Tracer, load_tracer, own_model
from data.groups import Grouping
from data.prompts import PromptSummary, summarize_prompts
from data.routing import Document
from data.store import TraceStore, open_trace
from data.strict_json import json_text
from data.trace_paths import partial_path, require_free

if TYPE_CHECKING:
    from model.capture import Captured

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def capture(
    prompts: options.Prompts,
    out: options.Out,
    model: Model = CHECKPOINT,
    device: Device = None,
    dtype: Dtype = None,
    chat: options.Chat = False,
    generate: options.Generate = 0,
    temperature: OwnTemperature = None,
    top_p: OwnTopP = None,
    seed: options.Seed = 0,
    part: options.Part = None,
    resume: options.Resume = False,
    allow_nonfinite: options.AllowNonfinite = False,
    parallel: options.Parallel = False,
    server: options.ServerUrl = None,
    api: options.Api = None,
    num_experts: options.NumExperts = None,
    top_k: options.TopK = None,
    layers: options.Layers = None,
    as_json: Json = False,
) -> None:
    """Run prompts through a model and store where every token was routed.

    Example: routescope capture prompts.jsonl --out traces/mine.duckdb

    From a running server: routescope capture prompts.jsonl --out traces/mine.duckdb --server
    http://127.0.0.1:30000 --api sglang --generate 64

    Several processes: torchrun --standalone --nproc-per-node 2 $(which routescope) capture
    prompts.jsonl --out traces/mine.duckdb --parallel
    """
    loading = Loading(device=device, dtype=dtype, chat=chat)
    served = options.Served(
        server=server, api=api, num_experts=num_experts, top_k=top_k, layers=layers
    )
    if served:
        from app.commands.server_capture import capture_served

        if device or dtype or parallel or allow_nonfinite:
            raise ValueError(
                "--server goes without --device, --dtype, --parallel, --allow-nonfinite"
            )
        ways: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed}
        capture_served(
            served,
            prompts,
            out,
            model,
            chat=chat,
            new_tokens=generate,
            **ways,
            part=part,
            resume=resume,
            as_json=as_json,
        )
        return
    if parallel:
        require_alone(resume, loading)
    sampling = None
    if generate:
        sampling = Sampling(new_tokens=generate, temperature=temperature, top_p=top_p, seed=seed)
    settings: dict[str, Any] = {
        "part": part,
        "sampling": sampling,
        "allow_nonfinite": allow_nonfinite,
    }
    if parallel:
        capture_over_ranks(prompts, out, model, **settings, as_json=as_json)
    else:
        capture_alone(
            prompts, out, model_folder(model), loading, **settings, resume=resume, as_json=as_json
        )


def require_alone(resume: bool, loading: Loading) -> None:
    """What does not go together with several processes."""
    if resume:
        raise ValueError(
            "--resume goes on with the trace of one process; --parallel keeps nothing unfinished"
        )
    if loading:
        raise ValueError(
            "--device, --dtype and --chat are for models of transformers, which --parallel does "
            "not spread; leave them out"
        )


def capture_alone(
    prompts: Path,
    out: Path,
    model: Path,
    loading: Loading,
    *,
    part: str | None,
    sampling: Sampling | None,
    allow_nonfinite: bool,
    resume: bool,
    as_json: bool,
) -> None:
    if not resume:
        require_free(out)
    first, parts = part_of(part)
    summary = summarize_prompts(prompts)
    tracer = load_tracer(model, loading)
    described = described_prompts(prompts, summary, part=part)
    description = tracer.description(
        out.stem, prompts=described, grouping=summary.grouping, sampling=sampling
    )
    begin = TraceStore.resume if resume else TraceStore.create
    figures = write_trace(
        tracer,
        every(parts, prompts, summary, first=first),
        begin(out, description, apart=tracer.model.device.type == "cuda"),
        total=len(range(first, summary.documents, parts)),
        sampling=sampling,
        allow_nonfinite=allow_nonfinite,
    )
    report(with_summary(figures, summary, out), grouping=summary.grouping, as_json=as_json)


def capture_over_ranks(
    prompts: Path,
    out: Path,
    model: Path,
    *,
    part: str | None,
    sampling: Sampling | None,
    allow_nonfinite: bool,
    as_json: bool,
) -> None:
    """What each process of torchrun does; the first one reports."""
    with ranks_of_torchrun("capture PROMPTS --out TRACE") as ranks:
        from model.parallel.expert_parallel import spread_model

        with ranks.agreeing():
            require_free(out)
            place, parts = part_of(part)
            first, step = place + parts * ranks.rank, parts * ranks.size
            summary = summarize_prompts(prompts)
            tracer = load_tracer(model)
            described = described_prompts(prompts, summary, part=part)
            description = tracer.description(
                out.stem, prompts=described, grouping=summary.grouping, sampling=sampling
            )
            described_capture = description.config["capture"]
            assert isinstance(described_capture, dict)
            described_capture["ranks"] = ranks.size
            spread_model(own_model(tracer).transformer, ranks.mesh)
        total = len(range(first, summary.documents, step))
        started = time.perf_counter()
        with documents_bar() as count:
            captured = capture_in_parallel(
                ranks,
                tracer,
                every(step, prompts, summary, first=first),
                out,
                description,
                sampling=sampling,
                allow_nonfinite=allow_nonfinite,
                on_progress=lambda tokens, done: count(tokens, done, total),
            )
        if ranks.rank == 0:
            figures = summary_figures(captured, seconds=time.perf_counter() - started)
            report(with_summary(figures, summary, out), grouping=summary.grouping, as_json=as_json)


def write_trace(
    tracer: Tracer,
    documents: Iterable[Document],
    store: TraceStore,
    *,
    total: int,
    sampling: Sampling | None = None,
    allow_nonfinite: bool = False,
) -> dict[str, object]:
    """Fill the store under a progress bar; the figures of the summary."""
    started = time.perf_counter()
    stored = store.stored_doc_ids()
    with leaving(lambda: what_is_done(store.path)), store, documents_bar() as count:
        count(0, len(stored), total)
        captured = tracer.capture(
            documents,
            store,
            sampling=sampling,
            stored=stored,
            allow_nonfinite=allow_nonfinite,
            on_progress=lambda tokens, done: count(tokens, len(stored) + done, total),
        )
    seconds = time.perf_counter() - started
    return summary_figures(captured, seconds=seconds, resumed=len(stored))


def summary_figures(captured: "Captured", *, seconds: float, resumed: int = 0) -> dict[str, object]:
    return asdict(captured) | {
        "resumed_documents": resumed,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(captured.tokens / seconds),
    }


def with_summary(
    figures: dict[str, object], summary: PromptSummary, out: Path
) -> dict[str, object]:
    about_prompts = {
        "skipped_rows": summary.skipped,
        "groups": summary.grouping.described(),
        "notes": list(summary.notes),
    }
    return figures | about_prompts | {"path": str(out)}


def what_is_done(path: Path) -> str:
    partial = partial_path(path)
    if partial.exists():
        return f"{partial} holds what is done: add --resume to continue"
    return "nothing was stored"


def counted(number: object, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def report(figures: dict[str, object], *, grouping: Grouping | None = None, as_json: bool) -> None:
    with open_trace(Path(str(figures["path"]))) as con:
        print_report(findings(con))
    if as_json:
        print(json_text(figures))
        return
    print(
        f"{figures['path']}: {counted(figures['documents'], 'document', 'documents')}, "
        f"{counted(figures['tokens'], 'token', 'tokens')} "
        f"in {figures['seconds']} s ({figures['tokens_per_second']:,} tokens/s)"
    )
    if figures["resumed_documents"]:
        stored = counted(figures["resumed_documents"], "document", "documents")
        print(f"{stored} had been stored before")
    if cut := figures["truncated_documents"]:
        print(
            f"{counted(cut, 'document was', 'documents were')} longer than the context: "
            f"{counted(figures['truncated_tokens'], 'token', 'tokens')} cut"
        )
    if skipped := figures.get("skipped_rows"):
        print(f"{counted(skipped, 'row', 'rows')} without text skipped")
    notes = figures.get("notes", [])
    assert isinstance(notes, list)
    for note in notes:
        print(f"note: {note}")
    if grouping and grouping.joined:
        print(grouping.in_words())
