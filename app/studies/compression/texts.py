"""Texts that a smaller model is measured on."""

from collections.abc import Sequence

from app.studies.reader import HELDOUT
from data.routing import UNLABELLED, Document
from data.tasks.files import read_task


def unseen_texts(used: Sequence[Document], *, texts: int, seed: int) -> list[Document]:
    """Shipped held-out texts that are not among those used to calibrate, `texts` a domain."""
    seen = {document.text for document in used}
    task = read_task(HELDOUT).sample(texts + len(used), seed=seed)
    left: dict[str, int] = {}
    unseen = []
    for document in task.documents:
        domain = document.domain or UNLABELLED
        if document.text not in seen and left.setdefault(domain, texts):
            left[domain] -= 1
            unseen.append(document)
    return unseen
