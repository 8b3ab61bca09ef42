import numpy as np
import pytest

from analysis.reduction import add_choices

ONE = np.eye(4, dtype=np.float32)  # two layers of two experts: a component each


def added(
    place: list[int], layer_id: list[int], end: list[int], expert_id: list[int], weight: list[float]
) -> list[list[float]]:
    sum_PS = np.zeros((2, 4), np.float32)
    add_choices(
        np.array(place, np.uint64),
        np.array(layer_id, np.uint16),
        np.array(end),
        np.array(expert_id, np.int16),
        np.array(weight, np.float32),
        2,
        np.array([7, 9], np.uint64),
        ONE,
        sum_PS,
    )
    return sum_PS.tolist()


def test_a_choice_adds_the_root_of_its_share() -> None:
    sums = added([7, 7], [0, 1], [2, 4], [0, 1, 1, 0], [0.2, 0.6, 3.0, 1.0])
    assert sums[0] == pytest.approx([0.5, 0.75**0.5, 0.5, 0.75**0.5])
    assert sums[1] == [0, 0, 0, 0]


def test_lists_of_a_layer_that_follow_one_another_are_one() -> None:
    whole = added([9], [1], [2], [0, 1], [0.25, 0.75])
    assert added([9, 9], [1, 1], [1, 2], [0, 1], [0.25, 0.75]) == whole


def test_without_weights_all_count_alike_and_what_did_not_run_is_left_out() -> None:
    assert added([7], [0], [3], [0, -1, 1], [np.nan] * 3)[0] == pytest.approx(
        [0.5**0.5] * 2 + [0, 0]
    )


def test_tokens_between_the_points_and_empty_lists_add_nothing() -> None:
    assert added([8, 9], [0, 0], [1, 1], [0], [1.0]) == [[0, 0, 0, 0]] * 2
