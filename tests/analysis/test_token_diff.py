"""Two texts token by token: by hand, and against every alignment there is."""

from functools import cache
from time import process_time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import token_diff
from analysis.matching.choices import Choices
from analysis.token_diff import GAP, PairFlips, columns, pair_flips, same_tokens, text_choices
from data.routing import NO_EXPERT

TEXTS = st.lists(st.integers(0, 2), max_size=8)


def aligned(first: str, second: str) -> list[tuple[int, int]]:
    codes = (np.array([ord(letter) for letter in text], int) for text in (first, second))
    rows, others = same_tokens(*codes)
    return list(zip(rows.tolist(), others.tolist(), strict=True))


def runs(pairs: list[tuple[int, int]]) -> int:
    return sum(
        place == 0 or (pairs[place - 1][0] + 1, pairs[place - 1][1] + 1) != pair
        for place, pair in enumerate(pairs)
    )


def best(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, int]:
    """Tokens, and runs as a negative number, of the best of all alignments."""

    @cache
    def after(row: int, other: int, in_run: bool) -> tuple[int, int]:
        if row == len(first) or other == len(second):
            return 0, 0
        found = [after(row + 1, other, False), after(row, other + 1, False)]
        if first[row] == second[other]:
            tokens, negative = after(row + 1, other + 1, True)
            found.append((tokens + 1, negative - (not in_run)))
        return max(found)

    return after(0, 0, False)


def test_a_word_that_is_replaced_leaves_the_others_aligned() -> None:
    assert aligned("abXde", "abYde") == [(0, 0), (1, 1), (3, 3), (4, 4)]


def test_what_is_inserted_or_deleted_moves_the_rest() -> None:
    assert aligned("abc", "aXXbc") == [(0, 0), (1, 3), (2, 4)]
    assert aligned("aXXbc", "abc") == [(0, 0), (3, 1), (4, 2)]


def test_tokens_that_moved_are_aligned_once() -> None:
    assert aligned("XYabc", "abcXY") == [(2, 0), (3, 1), (4, 2)]


def test_of_as_many_tokens_the_fewest_runs_are_taken() -> None:
    assert aligned("zab", "yaXab") == [(1, 3), (2, 4)]  # and not the first a, which is as good


def test_what_both_begin_with_is_aligned_there() -> None:
    assert aligned("ab", "aab") == [(0, 0), (1, 2)]  # the first token has nothing before it in both


@pytest.mark.parametrize(("first", "second"), [("", ""), ("", "a"), ("a", ""), ("a", "b")])
def test_texts_without_a_common_token_have_no_pair(first: str, second: str) -> None:
    assert aligned(first, second) == []


@given(TEXTS, TEXTS)
def test_no_alignment_has_more_tokens_or_as_many_in_fewer_runs(
    first: list[int], second: list[int]
) -> None:
    first, second = [3, *first], [4, *second]  # they begin with different tokens
    rows, others = same_tokens(np.array(first), np.array(second))
    pairs = list(zip(rows.tolist(), others.tolist(), strict=True))
    assert all(first[row] == second[other] for row, other in pairs)
    assert (np.diff(rows) > 0).all()
    assert (np.diff(others) > 0).all()
    assert (len(pairs), -runs(pairs)) == best(tuple(first), tuple(second))


@given(TEXTS, TEXTS, TEXTS)
def test_a_common_beginning_costs_no_pair(
    begin: list[int], first: list[int], second: list[int]
) -> None:
    one, other = [*begin, *first], [*begin, *second]
    rows, others = same_tokens(np.array(one, int), np.array(other, int))
    assert rows[: len(begin)].tolist() == others[: len(begin)].tolist() == [*range(len(begin))]
    assert len(rows) == best(tuple(one), tuple(other))[0]


def test_the_longest_texts_that_repeat_themselves_take_seconds() -> None:
    size, began = token_diff.MAX_TOKENS, process_time()
    rows, _ = same_tokens(np.arange(size) % 2, np.arange(1, size + 1) % 3 // 2)
    assert len(rows) > size / 2
    assert process_time() - began < 10


def test_columns_put_the_texts_one_above_the_other() -> None:
    """a b X d over a Y Z b d."""
    table = columns(np.array([0, 1, 3]), np.array([0, 3, 4]), (4, 5))
    assert table["first"].tolist() == [0, GAP, GAP, 1, 2, 3]
    assert table["second"].tolist() == [0, 1, 2, 3, GAP, 4]
    assert table.same.tolist() == [True, False, False, True, False, True]


def test_replaced_tokens_share_a_column() -> None:
    table = columns(np.array([1]), np.array([2]), (3, 4))
    assert table["first"].tolist() == [0, GAP, 1, 2]
    assert table["second"].tolist() == [0, 1, 2, 3]
    assert table.same.tolist() == [False, False, True, False]


def test_columns_of_nothing_in_common() -> None:
    table = columns(np.zeros(0, int), np.zeros(0, int), (1, 0))
    assert table.to_dict("list") == {"first": [0], "second": [GAP], "same": [False]}


def of(ids: list[list[list[int]]]) -> Choices:
    """[P, L, K]"""
    ids_PLK = np.array(ids, np.int16)
    return Choices(
        ids_PLK=ids_PLK,
        weights_PLK=np.full(ids_PLK.shape, np.nan, np.float32),
        margin_PL=np.full(ids_PLK.shape[:2], np.nan, np.float32),
    )


def compared(
    first: Choices, second: Choices, experts_L: np.ndarray, *, codes: list[int] | None = None
) -> PairFlips:
    """Of tokens that are all different, unless codes are given."""
    code_P = np.arange(len(first.ids_PLK)) if codes is None else np.array(codes)
    return pair_flips(first, second, experts_L, code_P=code_P)


def test_flips_and_their_null_by_hand() -> None:
    """The second token exchanges 1 of 2 experts in layer 1. Different tokens never choose the same:
    01 and 23 in layer 0, 01 and 13, 12 and 01 in layer 1."""
    first = of([[[0, 1], [0, 1]], [[2, 3], [1, 2]]])
    second = of([[[1, 0], [0, 1]], [[2, 3], [1, 3]]])
    found = compared(first, second, np.array([4, 4]))
    assert found.flipped_PL.tolist() == [[False, False], [False, True]]
    assert found.share_PL.tolist() == [[0, 0], [0, 0.5]]
    assert found.somewhere().tolist() == [False, True]
    assert found.unrelated_L.tolist() == [1, 1]
    assert found.unrelated == 1


def test_unrelated_tokens_may_agree() -> None:
    """Three tokens: 0, 0 and 1. Of 6 ordered pairs of different ones 2 have the same expert."""
    one = of([[[0]], [[0]], [[1]]])
    found = compared(one, one, np.array([2]))
    assert not found.flipped_PL.any()
    assert found.unrelated_L.tolist() == [pytest.approx(4 / 6)]
    assert found.unrelated == pytest.approx(4 / 6)


def test_the_same_token_elsewhere_is_no_different_one() -> None:
    """Of "the x the y": one "the" beside the other would agree."""
    one = of([[[0]], [[1]], [[0]], [[2]]])
    found = compared(one, one, np.array([3]), codes=[7, 1, 7, 2])
    assert found.unrelated_L.tolist() == [1]
    assert found.unrelated == 1
    assert np.isnan(compared(one, one, np.array([3]), codes=[7] * 4).unrelated)


def test_a_token_without_an_expert_is_not_compared() -> None:
    found = compared(of([[[0]], [[NO_EXPERT]]]), of([[[1]], [[1]]]), np.array([2]))
    assert found.compared_PL.tolist() == [[True], [False]]
    assert found.share_PL[0, 0] == 1
    assert np.isnan(found.share_PL[1, 0])


def test_one_token_has_no_other_to_compare_it_with() -> None:
    found = compared(of([[[0]]]), of([[[1]]]), np.array([2]))
    assert found.flipped_PL.tolist() == [[True]]
    assert np.isnan(found.unrelated_L).tolist() == [True]
    assert np.isnan(found.unrelated)


@pytest.mark.parametrize("num_experts", [1, 2])
def test_where_every_expert_is_chosen_nothing_flips(num_experts: int) -> None:
    one = of([[list(range(num_experts))]] * 3)
    found = compared(one, one, np.array([num_experts]))
    assert not found.flipped_PL.any()
    assert found.unrelated_L.tolist() == [0]


def test_layers_and_tokens_may_choose_different_numbers() -> None:
    first = of([[[0, NO_EXPERT], [5, 6]]])
    second = of([[[0, 1], [5, NO_EXPERT]]])
    found = compared(first, second, np.array([2, 8]))
    assert found.share_PL.tolist() == [[0.5, 0.5]]


@given(st.data())
def test_flips_are_those_of_sets(data: st.DataObject) -> None:
    tokens = st.lists(st.permutations(range(4)), min_size=4, max_size=4)
    drawn = [np.array(data.draw(tokens))[:, None, :2] for _ in range(2)]
    first, second = (of(ids.tolist()) for ids in drawn)
    sets = [[set(ids[0]) for ids in text.tolist()] for text in drawn]
    expected = [[one != other] for one, other in zip(*sets, strict=True)]
    found = compared(first, second, np.array([4]))
    assert found.flipped_PL.tolist() == expected
    different = [(i, j) for i in range(4) for j in range(4) if i != j]
    null = np.mean([sets[0][i] != sets[1][j] for i, j in different])
    assert found.unrelated_L[0] == pytest.approx(null)


def test_a_long_text_is_compared_with_some_of_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_diff, "UNRELATED", 10)
    one = of([[[place % 2]] for place in range(10)])
    found = compared(one, one, np.array([2]))
    assert found.unrelated_L[0] in (0, 1)  # one shift, which is even or odd


def test_choices_of_a_text_leave_out_what_was_dropped() -> None:
    routing = pd.DataFrame(
        [
            (7, 0, 0, 3, 0.6, 0.1, False),
            (7, 0, 1, 1, 0.4, 0.1, False),
            (7, 0, None, 2, 0.0, 0.1, True),
            (9, 0, None, NO_EXPERT, 0.0, None, False),
        ],
        columns=["position", "layer_id", "rank", "expert_id", "weight", "margin", "dropped"],
    )
    found = text_choices(routing, 1)
    assert found.ids_PLK.tolist() == [[[3, 1]], [[NO_EXPERT, NO_EXPERT]]]
    assert found.weights_PLK[0, 0].tolist() == pytest.approx([0.6, 0.4])
    assert found.margin_PL[0, 0] == pytest.approx(0.1)
