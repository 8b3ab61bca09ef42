"""The demo trace: shipped held-out texts of every domain through a model."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from app.studies.reader import HELDOUT, Tracer
from app.studies.shipped_causes import adopt
from data.groups import Grouping
from data.routing import DOMAINS, Document
from data.store import TraceStore
from data.trace_paths import discard_partial, partial_path, require_ours

if TYPE_CHECKING:
    from model.capture import Captured

DEMO_TOKENS = 19_000  # a domain, at least where its groups have so many
GROUP_TOKENS = DEMO_TOKENS // 12  # after which no further text of a group is drawn

Row = dict[str, Any]  # of the held-out file

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
    require_ours(partial_path(path), what="an unfinished demo")
    discard_partial(path)
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
    adopt(tracer.folder, path)
    return captured


def demo_documents(tracer: Tracer, path: Path) -> Iterator[Document]:
    """Shipped held-out documents of each domain, to about equal tokens per domain."""
    from model.encoded import encode_text

    if not path.is_file():
        raise ValueError(f"{path} is missing; it is shipped with RouteScope")
    room = tracer.model.context_length - 1
    rows = pq.read_table(path).to_pylist()
    for domain in DOMAINS:
        drawn = draw(
            [row for row in rows if row["domain"] == domain],
            lambda text: min(room, len(encode_text(tracer.model, text))),
            tokens=DEMO_TOKENS,
            group_tokens=GROUP_TOKENS,
        )
        for row in sorted(drawn, key=lambda row: row["doc_id"]):
            yield Document(
                doc_id=row["doc_id"],
                text=row["text"],
                domain=domain,
                group=row["group"],
                origin=f"{row['source']}/{row['sublabel']}",
            )


def draw(
    rows: Iterable[Row],
    tokens_of: Callable[[str], int],
    *,
    tokens: int,
    group_tokens: int,
) -> Iterator[Row]:
    """Rows to so many tokens; the next is of the source with the fewest that has groups below
    `group_tokens`, and there of the group with the fewest.
    """
    waiting = defaultdict[tuple[str, str], deque[Row]](deque)
    for row in rows:
        waiting[row["source"], row["group"]].append(row)
    of_source, of_group = Counter[str](), Counter[str]()
    while waiting and of_group.total() < tokens:
        source, group = min(waiting, key=lambda key: (of_source[key[0]], of_group[key[1]]))
        row = waiting[source, group].popleft()
        added = tokens_of(row["text"])
        of_source[source] += added
        of_group[group] += added
        if not waiting[source, group] or of_group[group] >= group_tokens:
            del waiting[source, group]
        yield row
