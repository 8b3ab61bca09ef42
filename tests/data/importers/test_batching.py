import numpy as np
import pytest

from data.importers.checks.findings import finding
from data.importers.reading import batching
from data.routing import Document, RoutingBatch


def document(doc_id: int) -> RoutingBatch:
    """Of two tokens, with a finding."""
    return RoutingBatch.of(
        doc_id_T=np.full(2, doc_id),
        position_T=np.arange(2),
        expert_ids_TLK=np.zeros((2, 1, 1), int),
        documents=(Document(doc_id=doc_id, text=""),),
        findings=(finding("unrecorded-tokens", 3, f"text {doc_id}"),),
    )


def test_a_batch_is_whole_documents_of_about_so_many_choices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "BATCH_CHOICES", 4)
    batches = list(batching.in_batches(map(document, range(5))))
    assert [len(batch.documents) for batch in batches] == [2, 2, 1]
    assert [batch.expert_ids_TLK.size for batch in batches] == [4, 4, 2]


def test_findings_of_one_kind_are_added_up_and_keep_the_first_example() -> None:
    [batch] = batching.in_batches(map(document, range(5)))
    [found] = batch.findings
    assert (found.occurrences, found.first_example) == (15, "text 0")
