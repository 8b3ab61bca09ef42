"""`routescope capture PROMPTS --server URL`: a trace from a running inference server."""

import time
from dataclasses import asdict

from app.commands.capture_options import Asked, Served
from app.commands.capture_prompts import texts_of
from app.commands.capture_report import hinting, report, what_is_done, with_summary
from app.commands.progress import documents_bar
from app.commands.signals import leaving
from app.studies.reader import CHECKPOINT
from app.studies.served_model import Given, served_model
from app.studies.server_capture import Captured, ServerCapture
from app.studies.server_client import Server
from app.studies.server_dialects import Asking
from data.routing import TraceSink
from data.store import TraceStore
from data.trace_paths import require_free


def capture_served(served: Served, asked: Asked, asking: Asking) -> None:
    out = asked.out
    given = Given(
        folder=None if asked.model == CHECKPOINT else asked.model,
        num_experts=served.num_experts,
        top_k=served.top_k,
        layers=served.num_layers,
    )
    if not asked.resume:
        require_free(out)
    texts = texts_of(asked.prompts, asked.part, asked.kept)
    summary = texts.summary
    started = time.perf_counter()
    with leaving(lambda: what_is_done(out)), Server(served.server or "") as server:
        capture = ServerCapture(server, served_model(server, asking.api, given), asking, texts)
        description = texts.kept(
            capture.description(out.stem, prompts=texts.described(), grouping=summary.grouping),
            asked.kept,
        )
        store = (TraceStore.resume if asked.resume else TraceStore.create)(out, description)
        sink = asked.kept.sink(store, description)
        captured = _written(capture, store, sink, total=len(texts))
    seconds = time.perf_counter() - started
    figures = asdict(captured) | {
        "truncated_documents": 0,
        "truncated_tokens": 0,
        "resumed_documents": len(store.stored_doc_ids()),
        "seconds": round(seconds, 2),
        "tokens_per_second": round(captured.tokens / seconds),
    }
    figures = with_summary(figures, summary, out)
    report(figures, grouping=summary.grouping, as_json=asked.as_json)


def _written(capture: ServerCapture, store: TraceStore, sink: TraceSink, *, total: int) -> Captured:
    stored = store.stored_doc_ids()
    with hinting(lambda: what_is_done(store.path)), store, documents_bar() as count:
        count(0, len(stored), total)
        return capture.write(
            sink,
            stored=stored,
            on_progress=lambda tokens, done: count(tokens, len(stored) + done, total),
        )
