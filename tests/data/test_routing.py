from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.routing import RoutingBatch, concatenated, take_rows
from tests.routing_batches import batch_of


def two_documents() -> RoutingBatch:
    return batch_of([5, 5, 7], [[[0, 1]], [[2, 3]], [[4, 5]]])


def test_a_batch_refuses_columns_of_different_lengths() -> None:
    batch = two_documents()
    with pytest.raises(ValueError, match="loss_T has 2 rows, routing 3"):
        replace(batch, loss_T=batch.loss_T[:2])
    with pytest.raises(ValueError, match="weights are"):
        replace(batch, weights_TLK=batch.weights_TLK[:, :, :1])
    assert batch.entropy_TL is not None
    with pytest.raises(ValueError, match="entropy_TL is"):
        replace(batch, entropy_TL=batch.entropy_TL[:2])


def test_concatenated_keeps_rows_and_documents_in_order() -> None:
    joined = concatenated([batch_of([1], [[[0, 1]]]), two_documents()])
    assert joined.doc_id_T.tolist() == [1, 5, 5, 7]
    assert joined.expert_ids_TLK[:, 0, 0].tolist() == [0, 0, 2, 4]
    assert joined.token_text_T == ["t0", "t0", "t1", "t2"]
    assert [document.doc_id for document in joined.documents] == [1, 5, 7]


def test_concatenated_refuses_gates_known_for_some_batches_only() -> None:
    ids_only = replace(two_documents(), entropy_TL=None, margin_TL=None)
    assert concatenated([ids_only, ids_only]).entropy_TL is None
    with pytest.raises(ValueError, match="1 of 2 batches have gate values"):
        concatenated([ids_only, two_documents()])


def test_selected_keeps_only_documents_with_rows() -> None:
    last = take_rows(two_documents(), np.array([2]))
    assert last.doc_id_T.tolist() == [7]
    assert last.token_text_T == ["t2"]
    assert last.expert_ids_TLK.tolist() == [[[4, 5]]]
    assert [document.doc_id for document in last.documents] == [7]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"expert_ids_TLK": np.array([[[1.5]]])}, "expert_ids_TLK are float64; give whole numbers"),
        ({"position_T": np.array([-1])}, "position_T is int64 from -1 to -1"),
        ({"position_T": np.array([0.5])}, "position_T is float64"),
        ({"doc_id_T": np.array([2**40])}, "doc_id_T is int64 from 1099511627776"),
        ({"token_id_T": np.array([2**33])}, "token_id_T is int64"),
        (
            {"phase_T": np.array([9])},
            "phase_T is int64 from 9 to 9; .* 0 to 1",
        ),
        ({"token_id_T": np.array(["a"])}, "token_id_T is <U1"),
    ],
)
def test_arrays_that_no_trace_can_hold_are_refused(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "doc_id_T": np.array([0]),
        "position_T": np.array([0]),
        "expert_ids_TLK": np.array([[[1]]]),
    }
    assert RoutingBatch.of(**right).token_text_T == [None]
    with pytest.raises(ValueError, match=message):
        RoutingBatch.of(**right | wrong)
