import numpy as np
import pytest

from analysis.offload.predictions import (
    Predictions,
    fit,
    from_previous_token,
    from_transitions,
    most_chosen,
    right_predictions,
)
from tests.cache_requests import requests_of

TWO = np.array([3, 3])  # experts 0, 1, 2 of layer 0 and 3, 4, 5 of layer 1


def predicted_by(predictions: Predictions) -> list[list[int]]:
    """Of each request."""
    parts = zip(predictions.start_R, predictions.end_R, strict=True)
    return [predictions.expert_B[start:end].tolist() for start, end in parts]


def test_transitions_are_shares_of_the_tokens_that_chose_an_expert() -> None:
    fitted = fit(requests_of(np.array([[[0], [1]], [[0], [1]], [[0], [2]]]), experts_L=TWO))
    assert fitted.next_XE[0] == pytest.approx([0, 2 / 3, 1 / 3])
    assert not fitted.next_XE[1:].any()  # never chosen, or of the last layer
    assert fitted.choices_X.tolist() == [3, 0, 0, 0, 2, 1]


def test_the_shares_of_the_experts_of_a_token_are_added_up() -> None:
    """0 is followed by 0 always, 1 by 1 and by 2: of both, 0 has the most."""
    others = requests_of(np.array([[[0], [0]], [[1], [1]], [[1], [2]], [[1], [2]]]), experts_L=TWO)
    fitted = fit(others)
    requests = requests_of(np.array([[[0, 1], [1, 2]]]), experts_L=TWO)
    assert fitted.usual_L.tolist() == [1, 1]
    assert predicted_by(from_transitions(requests, fitted)) == [[], [3]]
    alone = requests_of(np.array([[[1, -1], [1, 2]]]), experts_L=TWO)
    assert predicted_by(from_transitions(alone, fitted)) == [[], [5]]


def test_as_many_are_predicted_as_a_token_usually_runs() -> None:
    both = requests_of(np.array([[[0, 1], [0, 2]]] * 3), experts_L=TWO)
    assert predicted_by(from_transitions(both, fit(both)))[1] == [3, 5]


def test_of_an_expert_that_nothing_is_known_of_nothing_is_predicted() -> None:
    fitted = fit(requests_of(np.array([[[0], [0]]]), experts_L=TWO))
    requests = requests_of(np.array([[[2], [0]]]), experts_L=TWO)
    assert predicted_by(from_transitions(requests, fitted)) == [[], []]


def test_a_layer_without_choices_leaves_no_transition_over_it() -> None:
    ids_TLK = np.array([[[0], [-1], [1]]] * 4)
    fitted = fit(requests_of(ids_TLK, experts_L=np.array([2, 2, 2])))
    assert not fitted.next_XE.any()


def test_the_previous_token_of_the_same_text_is_repeated() -> None:
    ids_TLK = np.array([[[0], [1]], [[2], [0]], [[1], [1]]])
    requests = requests_of(ids_TLK, document_T=np.array([0, 0, 1]), experts_L=TWO)
    assert predicted_by(from_previous_token(requests)) == [[], [], [0], [4], [], []]


def test_of_the_most_chosen_there_are_as_many_as_another_predicts() -> None:
    """Layer 0 chooses 2 twice and 0 once; layer 1 chooses 1 twice and 0 once."""
    others = requests_of(np.array([[[2], [1]], [[2], [1]], [[0], [0]]]), experts_L=TWO)
    requests = requests_of(np.array([[[0, 1], [2, -1]], [[1, -1], [0, -1]]]), experts_L=TWO)
    like = from_previous_token(requests)
    assert predicted_by(like) == [[], [], [0, 1], [5]]
    assert predicted_by(most_chosen(requests, fit(others), like)) == [[], [], [2, 0], [4]]


def test_right_predictions_are_counted_by_document() -> None:
    """Of document 0 the second token repeats one of two experts; of document 1 nothing."""
    ids_TLK = np.array([[[0, 1]], [[1, 2]], [[0, -1]]])
    requests = requests_of(ids_TLK, document_T=np.array([0, 0, 1]), experts_L=np.array([3]))
    predicted_D, right_D, asked_D = right_predictions(requests, from_previous_token(requests))
    assert (predicted_D.tolist(), right_D.tolist(), asked_D.tolist()) == ([2, 0], [1, 0], [2, 0])
