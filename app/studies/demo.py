"""The demo trace: shipped held-out texts of every domain through a model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from app.studies import ablation
from app.studies.reader import HELDOUT, Tracer
from data.groups import Grouping
from data.routing import DOMAINS, Document
from data.store import TraceStore, discard_partial

if TYPE_CHECKING:
    from model.capture import Captured

DEMO_TOKENS = 20_000  # a domain, at least

Progress = Callable[[int, int, int], None]  # tokens done, documents done, documents in all


def make_demo(
    tracer: Tracer,
    path: Path,
    *,
    on_progress: Progress = lambda tokens, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> "Captured":
    """Whole or not at all, with the causes that come with the model beside it."""
    documents = list(demo_documents(tracer, HELDOUT))
    groups = len({document.group for document in documents})
    grouping = Grouping(source="corpus", documents=len(documents), groups=groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_partial(path)  # of a demo that was cut short
    prompts = {"file": HELDOUT.name, "tokens_per_domain": DEMO_TOKENS}
    on_progress(0, 0, len(documents))
    try:
        description = tracer.description(path.stem, prompts=prompts, grouping=grouping)
        with TraceStore.create(path, description) as store:
            captured = tracer.capture(
                documents,
                store,
                on_progress=lambda tokens, done: on_progress(tokens, done, len(documents)),
                cancelled=cancelled,
            )
    except BaseException:
        discard_partial(path)
        raise
    ablation.adopt(tracer.folder, path)
    return captured


def demo_documents(tracer: Tracer, path: Path) -> Iterator[Document]:
    """The first shipped held-out documents of each domain, to about equal tokens per domain."""
    from model.encoded import encode_text

    if not path.is_file():
        raise ValueError(f"{path} is missing; it is shipped with RouteScope")
    room = tracer.model.context_length - 1
    left = dict.fromkeys(DOMAINS, DEMO_TOKENS)
    for row in pq.read_table(path).to_pylist():
        if left[row["domain"]] <= 0:
            continue
        left[row["domain"]] -= min(room, len(encode_text(tracer.model, row["text"])))
        yield Document(
            doc_id=row["doc_id"],
            text=row["text"],
            domain=row["domain"],
            origin=f"{row['source']}/{row['sublabel']}",
        )
