"""`routescope capture PROMPTS --server URL`: a trace from a running inference server."""

import time
from dataclasses import asdict
from pathlib import Path

from app.commands.capture import report, what_is_done, with_summary
from app.commands.capture_options import Served
from app.commands.capture_prompts import described_prompts, every, part_of
from app.commands.progress import documents_bar
from app.commands.signals import leaving
from app.studies.reader import CHECKPOINT
from app.studies.served_model import Given, served_model
from app.studies.server_capture import Captured, ServerCapture
from app.studies.server_client import Server
from app.studies.server_dialects import Asking
from data.prompts import summarize_prompts
from data.store import TraceStore
from data.trace_paths import partial_path, require_free


def capture_served(
    served: Served,
    prompts: Path,
    out: Path,
    model: Path,
    *,
    chat: bool,
    new_tokens: int,
    temperature: float | None,
    top_p: float | None,
    seed: int,
    part: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    asking = Asking(
        api=served.api or "",
        chat=chat,
        new_tokens=new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    given = Given(
        folder=None if model == CHECKPOINT else model,
        num_experts=served.num_experts,
        top_k=served.top_k,
        layers=served.layers,
    )
    if not resume:
        require_free(out)
    first, parts = part_of(part)
    summary = summarize_prompts(prompts)
    started = time.perf_counter()
    with leaving(lambda: what_is_done(out)), Server(served.server or "") as server:
        capture = ServerCapture(
            server,
            served_model(server, asking.api, given),
            asking,
            every(parts, prompts, summary, first=first),
        )
        described = described_prompts(prompts, summary, part=part)
        description = capture.description(out.stem, prompts=described, grouping=summary.grouping)
        store = (TraceStore.resume if resume else TraceStore.create)(out, description)
        stored = len(store.stored_doc_ids())
        total = len(range(first, summary.documents, parts))
        captured = _written(capture, store, stored=stored, total=total)
    seconds = time.perf_counter() - started
    figures = asdict(captured) | {
        "truncated_documents": 0,
        "truncated_tokens": 0,
        "resumed_documents": stored,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(captured.tokens / seconds),
    }
    report(with_summary(figures, summary, out), grouping=summary.grouping, as_json=as_json)


def _written(capture: ServerCapture, store: TraceStore, *, stored: int, total: int) -> Captured:
    try:
        with store, documents_bar() as count:
            count(0, stored, total)
            return capture.write(
                store, on_progress=lambda tokens, done: count(tokens, stored + done, total)
            )
    except ValueError as error:
        if partial_path(store.path).exists():
            raise ValueError(f"{error}; {what_is_done(store.path)}") from error
        raise
