"""`routescope capture`: texts through a model into a trace."""

import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from app.commands import capture_options as options
from app.commands.capture_options import Asked
from app.commands.capture_prompts import RANK, Texts, of_this_rank, texts_of
from app.commands.capture_report import (
    hinting,
    report,
    summary_figures,
    what_is_done,
    with_summary,
)
from app.commands.loading import Device, Dtype, Model, model_folder
from app.commands.numbers import OwnTemperature, OwnTopP
from app.commands.parallel import ranks_of_torchrun
from app.commands.progress import documents_bar
from app.commands.signals import leaving
from app.commands.summarize import Summary, summarize_large
from app.kept import Kept
from app.studies.parallel_capture import capture_in_parallel
from app.studies.reader import CHECKPOINT, Loading, Sampling, Tracer, load_tracer, own_model
from data.new_trace import TraceDescription
from data.routing import Document, TraceSink
from data.store import TraceStore
from data.trace_paths import require_free

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
    sample: options.SampleOf = None,
    layers: options.LayersOf = None,
    part: options.Part = None,
    resume: options.Resume = False,
    allow_nonfinite: options.AllowNonfinite = False,
    parallel: options.Parallel = False,
    ray: options.Ray = False,
    workers: options.Workers = None,
    server: options.ServerUrl = None,
    api: options.Api = None,
    num_experts: options.NumExperts = None,
    top_k: options.TopK = None,
    num_layers: options.NumLayers = None,
    summary: Summary = True,
    as_json: Json = False,
) -> None:
    """Run prompts through a model and store where every token was routed.

    Example: routescope capture prompts.jsonl --out traces/mine.duckdb

    From a running server: routescope capture prompts.jsonl --out traces/mine.duckdb --server
    http://127.0.0.1:30000 --api sglang --generate 64

    On a Ray cluster, or several workers here: routescope capture prompts.jsonl --out
    traces/mine.duckdb --ray --workers 4

    Several processes that share the experts: torchrun --standalone --nproc-per-node 2
    $(which routescope) capture prompts.jsonl --out traces/mine.duckdb --parallel

    Several with a model and a trace each: the same with --part rank; then routescope merge
    traces/mine.*-of-2.duckdb --out traces/mine.duckdb
    """
    served = options.Served(
        server=server, api=api, num_experts=num_experts, top_k=top_k, num_layers=num_layers
    )
    sampling = None
    if generate and not served:
        sampling = Sampling(new_tokens=generate, temperature=temperature, top_p=top_p, seed=seed)
    asked = Asked(
        prompts=prompts,
        out=out,
        model=model,
        loading=Loading(device=device, dtype=dtype, chat=chat),
        part=part,
        kept=Kept(sample=sample, layers=layers, seed=seed),
        sampling=sampling,
        allow_nonfinite=allow_nonfinite,
        resume=resume,
        as_json=as_json,
    )
    require_one_way(asked, served=bool(served), parallel=parallel, ray=ray, workers=workers)
    if part == RANK:
        asked = of_this_rank(asked)
    if served:
        from app.commands.server_capture import capture_served
        from app.studies.server_dialects import Asking

        ways: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed}
        asking = Asking(api=api or "", chat=chat, new_tokens=generate, **ways)
        capture_served(served, asked, asking)
    elif ray:
        from app.commands.capture_ray import capture_with_ray

        capture_with_ray(asked, workers)
    elif parallel:
        capture_over_ranks(asked)
    else:
        capture_alone(asked)
    if part is None and not parallel:  # parts are merged first; of ranks the pages start it
        summarize_large(out, wanted=summary, quiet=as_json)


def require_one_way(
    asked: Asked, *, served: bool, parallel: bool, ray: bool, workers: int | None
) -> None:
    """What does not go together."""
    loading = asked.loading
    on_a_machine = loading.device or loading.dtype or asked.allow_nonfinite
    if served and (on_a_machine or parallel or ray):
        raise ValueError(
            "--server goes without --device, --dtype, --parallel, --ray, --allow-nonfinite"
        )
    if parallel and ray:
        raise ValueError("--parallel spreads one model, --ray gives each worker one; choose one")
    if workers and not ray:
        raise ValueError("--workers is for --ray; add it")
    if ray and asked.part:
        raise ValueError("--ray shares the prompts out by itself; leave out --part")
    if asked.part == RANK and parallel:
        raise ValueError(
            "--part rank is for processes that capture apart, --parallel for one model"
        )
    if parallel and asked.resume:
        raise ValueError(
            "--resume goes on with the trace of one process; --parallel keeps nothing unfinished"
        )
    if parallel and loading:
        raise ValueError(
            "--device, --dtype and --chat are for models of transformers, which --parallel does "
            "not spread; leave them out"
        )


def capture_alone(asked: Asked) -> None:
    out, model = asked.out, model_folder(asked.model)
    if not asked.resume:
        require_free(out)
    texts = texts_of(asked.prompts, asked.part, asked.kept)
    tracer = load_tracer(model, asked.loading)
    description = described(tracer, texts, asked)
    begin = TraceStore.resume if asked.resume else TraceStore.create
    store = begin(out, description, apart=tracer.model.device.type == "cuda")
    figures = write_trace(
        tracer,
        texts,
        store,
        sink=asked.kept.sink(store, description),
        total=len(texts),
        sampling=asked.sampling,
        allow_nonfinite=asked.allow_nonfinite,
    )
    finish(figures, texts, asked)


def described(tracer: Tracer, texts: Texts, asked: Asked) -> TraceDescription:
    """Of the trace that is asked for."""
    whole = tracer.description(
        asked.out.stem,
        prompts=texts.described(),
        grouping=texts.summary.grouping,
        sampling=asked.sampling,
    )
    return texts.kept(whole, asked.kept)


def capture_over_ranks(asked: Asked) -> None:
    """What each process of torchrun does; the first one reports."""
    with ranks_of_torchrun("capture PROMPTS --out TRACE") as ranks:
        from model.parallel.expert_parallel import spread_model

        with ranks.agreeing():
            require_free(asked.out)
            texts = texts_of(
                asked.prompts, asked.part, asked.kept, rank=ranks.rank, ranks=ranks.size
            )
            tracer = load_tracer(asked.model)
            description = described(tracer, texts, asked)
            described_capture = description.config["capture"]
            assert isinstance(described_capture, dict)
            described_capture["ranks"] = ranks.size
            spread_model(own_model(tracer).transformer, ranks.mesh)
        total = len(texts)
        started = time.perf_counter()
        with documents_bar() as count:
            captured = capture_in_parallel(
                ranks,
                tracer,
                texts,
                asked.out,
                description,
                kept=asked.kept,
                sampling=asked.sampling,
                allow_nonfinite=asked.allow_nonfinite,
                on_progress=lambda tokens, done: count(tokens, done, total),
            )
        if ranks.rank == 0:
            figures = summary_figures(captured, seconds=time.perf_counter() - started)
            finish(figures, texts, asked)


def write_trace(
    tracer: Tracer,
    documents: Iterable[Document],
    store: TraceStore,
    *,
    sink: TraceSink,
    total: int,
    sampling: Sampling | None = None,
    allow_nonfinite: bool = False,
) -> dict[str, object]:
    """Fill the store through the sink, under a progress bar; the figures of the summary."""
    started = time.perf_counter()
    stored = store.stored_doc_ids()

    def left() -> str:
        return what_is_done(store.path)

    with leaving(left), hinting(left), store, documents_bar() as count:
        count(0, len(stored), total)
        captured = tracer.capture(
            documents,
            sink,
            sampling=sampling,
            stored=stored,
            allow_nonfinite=allow_nonfinite,
            on_progress=lambda tokens, done: count(tokens, len(stored) + done, total),
        )
    seconds = time.perf_counter() - started
    return summary_figures(captured, seconds=seconds, resumed=len(stored))


def finish(figures: dict[str, object], texts: Texts, asked: Asked) -> None:
    summary = texts.summary
    figures = with_summary(figures, summary, asked.out)
    report(figures, grouping=summary.grouping, as_json=asked.as_json)
