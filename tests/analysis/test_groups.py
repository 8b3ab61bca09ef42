"""Which texts are one observation, and how many observations unequal ones are worth."""

import numpy as np
import pytest

from analysis.groups import (
    NOT_ENOUGH,
    effective_number,
    effective_numbers,
    in_words,
    summed,
    too_few,
    units,
)


def test_a_unit_is_the_place_of_the_first_document_of_its_group() -> None:
    domains = ["math", "math", "code", "math", "code"]
    assert units(domains, ["b", None, "a", "b", "a"]).tolist() == [0, 1, 2, 0, 2]


def test_a_document_without_a_group_is_its_own_and_a_name_belongs_to_its_domain() -> None:
    assert units(["math"] * 3, [None] * 3).tolist() == [0, 1, 2]
    assert units(["math", "code", None, None], ["a"] * 4).tolist() == [0, 1, 2, 2]
    assert units([], []).tolist() == []


def test_values_are_summed_in_the_order_of_units() -> None:
    unit_N = units(["math"] * 4, ["b", "a", "b", None])
    assert summed(np.array([1, 10, 100, 1000]), unit_N).tolist() == [101, 10, 1000]
    rows = np.array([[1, 2], [3, 4], [5, 6], [7, 8]])
    assert summed(rows, unit_N).tolist() == [[6, 8], [3, 4], [7, 8]]


def test_equal_groups_count_as_many_as_they_are_and_a_giant_as_little_more_than_one() -> None:
    assert effective_number(np.full(12, 7)) == 12
    assert effective_number(np.array([3, 1])) == pytest.approx(1.6)  # 4^2 / 10
    assert effective_number(np.array([100, *[1] * 20])) == pytest.approx(120**2 / 10_020)
    assert effective_number(np.zeros(5)) == effective_number(np.zeros(0)) == 0


def test_groups_without_a_size_do_not_count() -> None:
    assert effective_number(np.array([5, 5, 0])) == 2


def test_every_domain_has_its_own_number() -> None:
    numbers_G = effective_numbers(np.array([2, 2, 3, 1]), np.array([0, 0, 2, 2]), num_domains=3)
    assert numbers_G.tolist() == pytest.approx([2, 0, 1.6])


def test_a_figure_of_all_groups_needs_ten_in_every_domain() -> None:
    size_N, domain_id_N = np.ones(24), np.repeat([0, 1], [15, 9])
    why = f"{NOT_ENOUGH} how sure this is: a domain has 9.0 of equal length, and 10 are needed"
    assert too_few(size_N, domain_id_N) == why
    assert too_few(np.ones(20), np.repeat([0, 1], 10)) == ""


def test_one_giant_group_is_too_few() -> None:
    size_N = np.ones(40)
    size_N[0] = 50
    assert "3.1 of equal length" in too_few(size_N, np.zeros(40, int))  # 89^2 / 2539


@pytest.mark.parametrize(
    ("documents", "groups", "words"),
    [
        (1, 1, "1 text"),
        (2_400, 2_400, "2,400 texts"),
        (2_400, 1_200, "2,400 texts in 1,200 groups"),
        (3, 1, "3 texts in 1 group"),
    ],
)
def test_a_sample_in_words(documents: int, groups: int, words: str) -> None:
    assert in_words(documents, groups) == words
