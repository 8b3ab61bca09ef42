"""Documents on their way to the model."""

from data.routing import Document
from model.encoded import Encoded, batches, windows
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
