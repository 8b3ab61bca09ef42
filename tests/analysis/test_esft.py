from dataclasses import replace

import numpy as np
import pytest

from analysis.esft import gate_score, selection, token_score
from tests.routing_batches import layer

LAYERS = (layer("layers.1", 4), layer("layers.2", 4))


def test_a_token_score_is_a_share_of_choices() -> None:
    tokens_LE = np.array([[6, 2, 0, 0], [1, 1, 1, 1]])  # 4 and 2 tokens that choose two
    assert token_score(tokens_LE).tolist() == [[0.75, 0.25, 0, 0], [0.25, 0.25, 0.25, 0.25]]


def test_a_gate_score_is_a_mean_over_all_tokens_of_the_layer() -> None:
    weights_LE = np.array([[2.0, 1, 0, 0], [0, 0, 0, 0]])
    score_LE = gate_score(weights_LE, np.array([4, 0]))
    assert score_LE[0].tolist() == [0.5, 0.25, 0, 0]
    assert np.isnan(score_LE[1]).all()


def test_experts_are_taken_until_their_shares_reach_p() -> None:
    tokens_LE = np.array([[1, 5, 3, 1], [4, 0, 0, 0]])
    assert taken(tokens_LE, 0.5) == [[1], [0]]  # 5 of 10 are reached by expert 1 alone
    assert taken(tokens_LE, 0.51) == [[1, 2], [0]]
    assert taken(tokens_LE, 1.0) == [[1, 2, 0, 3], [0]]


def test_of_equal_experts_the_first_is_taken() -> None:
    assert taken(np.array([[2, 2, 2, 2]] * 2), 0.5) == [[0, 1], [0, 1]]


def test_a_sum_that_is_p_exactly_is_enough_whatever_rounding_does() -> None:
    tenths_LE = np.full((1, 10), 7)  # 0.1 + 0.1 + 0.1 is above 0.3, and 0.7 and 0.1 below 0.8
    layers = (layer("layers.0", 10),)
    sizes = [len(selection(token_score(tenths_LE), layers, top_p=n / 10)[0]) for n in range(1, 11)]
    assert sizes == list(range(1, 11))


def test_scores_count_to_four_decimals_as_in_esfts_files() -> None:
    """1,526 and 1,525 of 49,332 choices are both 0.0309, so the first comes first."""
    tokens_LE = np.array([[1_525, 46_281, 1_526, 0]] * 2)
    assert taken(tokens_LE, 0.95) == [[1, 0], [1, 0]]


def test_layers_may_have_different_numbers_of_experts() -> None:
    layers = (layer("layers.0", 2), layer("layers.1", 4))
    score_LE = token_score(np.array([[1, 3, 0, 0], [1, 1, 1, 3]]))
    assert [one.tolist() for one in selection(score_LE, layers, top_p=0.8)] == [[1, 0], [3, 0, 1]]


def test_a_layer_without_choices_is_named() -> None:
    with pytest.raises(ValueError, match=r"layers.2 has no choices, or their weights are unknown"):
        taken(np.array([[1, 1, 1, 1], [0, 0, 0, 0]]), 0.2)


@pytest.mark.parametrize("top_p", [0, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(top_p: float) -> None:
    with pytest.raises(ValueError, match="give a share above 0, at most 1"):
        selection(np.ones((2, 4)), LAYERS, top_p=top_p)


def taken(tokens_LE: np.ndarray, top_p: float) -> list[list[int]]:
    layers = [replace(LAYERS[0], name=f"layers.{n + 1}") for n in range(len(tokens_LE))]
    return [one.tolist() for one in selection(token_score(tokens_LE), layers, top_p=top_p)]
