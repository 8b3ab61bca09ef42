"""What is written together."""

from hypothesis import given
from hypothesis import strategies as st

from data.routing import concatenated
from data.writer import parts
from tests.routing_batches import random_document


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_parts_are_whole_documents_within_the_limit(lengths: list[int], tokens: int) -> None:
    documents = [random_document(doc_id, tokens=n) for doc_id, n in enumerate(lengths)]
    pieces = parts(concatenated(documents), tokens=tokens)
    assert concatenated(pieces).doc_id_T.tolist() == concatenated(documents).doc_id_T.tolist()
    for piece in pieces:
        assert len(piece.doc_id_T) <= tokens or len(set(piece.doc_id_T.tolist())) == 1
    seen = [doc_id for piece in pieces for doc_id in set(piece.doc_id_T.tolist())]
    assert len(seen) == len(set(seen))
