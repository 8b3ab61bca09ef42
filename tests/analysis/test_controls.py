"""Whom a specialist is compared with."""

import numpy as np

from analysis.controls import matched_controls, random_order


def test_the_band_is_widened_until_there_are_enough() -> None:
    choices_E = np.array([100, 110, 90, 130, 190, 290, 310, 0])
    every = range(8)
    assert matched_controls(choices_E, 0, every, count=2) == [1, 2]  # within 1.25
    assert matched_controls(choices_E, 0, every, count=3) == [1, 2, 3]  # within 1.5
    assert matched_controls(choices_E, 0, every, count=9) == [1, 2, 3, 4, 5]  # within 3, not 3.1


def test_the_first_candidates_are_taken_and_the_expert_is_none_of_its_own() -> None:
    choices_E = np.full(6, 50)
    assert matched_controls(choices_E, 2, [5, 2, 4, 0, 1], count=3) == [5, 4, 0]
    assert matched_controls(np.array([0, 5, 5]), 0, [1, 2]) == []


def test_a_layer_has_one_order_for_all_claims() -> None:
    assert random_order(64, layer_id=3, seed=0) == random_order(64, layer_id=3, seed=0)
    assert random_order(64, layer_id=3, seed=0) != random_order(64, layer_id=4, seed=0)
    assert sorted(random_order(64, layer_id=3, seed=1)) == list(range(64))
