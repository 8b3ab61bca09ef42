"""Documents on their way to the model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from data.routing import Document
from model.encoded import Encoded, batches, read_by, windows
from tests.model.captures import TEXTS
from tests.readable import letter_ids


def test_windows_and_batches_hold_every_document_once() -> None:
    encoded = [
        Encoded(Document(doc_id=i, text=text), letter_ids(text), list(text), [None] * len(text))
        for i, text in enumerate(TEXTS)
    ]
    groups = list(windows(encoded, tokens=10))
    assert [[item.document.doc_id for item in group] for group in groups] == [
        [0, 1],
        [2],
        [3],
        [4],
        [5],
    ]
    assert list(batches(encoded, tokens=9)) == [[1, 5, 3], [0], [2], [4]]


def test_what_is_read_ahead_comes_in_its_order_and_then_its_error() -> None:
    made: list[int] = []

    def read() -> Iterator[list[Encoded]]:
        for doc_id in range(3):
            made.append(doc_id)
            yield [Encoded(Document(doc_id=doc_id, text="a"), [1], ["a"], [None])]
        raise ValueError("no token")

    with ThreadPoolExecutor(1) as reader:
        ahead = read_by(reader, read())
        for doc_id in range(3):
            [item] = next(ahead)
            assert item.document.doc_id == doc_id
            reader.submit(int).result()  # after what was begun before
            assert len(made) == min(doc_id + 2, 3)  # one more, and no more
        with pytest.raises(ValueError, match="no token"):
            next(ahead)
