"""Documents as token ids, grouped so that little of a batch is padding."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import NamedTuple, Protocol

from data.routing import Document
from model.readable import ReadableModel

ENCODED_AT_ONCE = 64  # documents, which share the cores


class HasTokenIds(Protocol):
    @property
    def token_ids(self) -> list[int]: ...


class Encoded(NamedTuple):
    document: Document
    token_ids: list[int]  # cut to the context
    pieces: list[str]
    special: list[str | None]


def require_scores(model: ReadableModel) -> int:
    """Position of the first token of a text that has a loss."""
    if model.scored_from is None:
        raise ValueError(
            "the model sees every token that it is asked about (an encoder reads what its decoder "
            "writes): a text has no loss under it"
        )
    return model.scored_from


def encode_text(model: ReadableModel, text: str) -> list[int]:
    [(ids, _)] = model.encode([text])
    return ids


def encoded_documents(
    model: ReadableModel, documents: Iterable[Document], *, room: int | None = None
) -> Iterator[Encoded]:
    """Each document as the model reads it, with at most `room` tokens, by default what the context
    holds; what is cut off is counted in the document."""
    if room is None:
        room = model.context_length - len(model.unrecorded)
    remaining = iter(documents)
    while some := list(islice(remaining, ENCODED_AT_ONCE)):
        readings = model.read([document.text for document in some])
        for document, (text, token_ids, pieces, special) in zip(some, readings, strict=True):
            if not token_ids:
                raise ValueError(
                    f"the tokenizer makes no token of the text {text[:40]!r} (document "
                    f"{document.doc_id}); leave it out"
                )
            cut = max(0, len(token_ids) - room)
            yield Encoded(
                replace(document, text=text, truncated_tokens=cut),
                token_ids[:room],
                pieces[:room],
                special[:room],
            )


def forward_room(model: ReadableModel) -> int:
    """Tokens of a text that one forward takes: what hooks see of a longer one is its last part."""
    longest = min(model.batch_tokens or model.context_length, model.context_length)
    return longest - len(model.unrecorded)


def windows(encoded: Iterable[Encoded], *, tokens: int) -> Iterator[list[Encoded]]:
    """Documents in their order, in groups of at most so many tokens with what precedes each, or of
    one that has more."""
    window: list[Encoded] = []
    size = 0
    for item in encoded:
        width = len(item.token_ids) + 1
        if window and size + width > tokens:
            yield window
            window, size = [], 0
        window.append(item)
        size += width
    if window:
        yield window


@contextmanager
def ahead(
    windows: Iterable[list[Encoded]], *, model: ReadableModel
) -> Iterator[Iterable[list[Encoded]]]:
    """Where a GPU computes, the next window is read meanwhile."""
    if model.device.type != "cuda":
        yield windows
        return
    with ThreadPoolExecutor(1, thread_name_prefix="reads-ahead") as reader:
        yield read_by(reader, iter(windows))


def read_by(reader: Executor, windows: Iterator[list[Encoded]]) -> Iterator[list[Encoded]]:
    following = reader.submit(next, windows, None)
    while (window := following.result()) is not None:
        following = reader.submit(next, windows, None)
        yield window


def batches(window: Sequence[HasTokenIds], *, tokens: int) -> Iterator[list[int]]:
    """Indices of those of similar length, at most so many tokens with start and padding, or one
    alone that has more."""
    batch: list[int] = []
    for index in sorted(range(len(window)), key=lambda index: len(window[index].token_ids)):
        width = len(window[index].token_ids) + 1
        if batch and width * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
