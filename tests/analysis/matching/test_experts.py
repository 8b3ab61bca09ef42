"""Experts that do the work of one another: planted ones are found, and unrelated ones are not."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from analysis.matching import experts as module
from analysis.matching.experts import (
    UNMATCHED,
    Agreement,
    LayerMatch,
    assigned,
    choice_correlation,
    corresponding_layers,
    enough_places,
    match_by_choices,
    match_by_weights,
    matching_agreement,
    renamed,
    text_sample,
)

TEXTS, LENGTH, EXPERTS = 40, 50, 16
GROUP_P = np.repeat(np.arange(TEXTS), LENGTH)
ONES_P = np.ones(TEXTS * LENGTH, int)


def drawn(rng: np.random.Generator, *, experts: int = EXPERTS, top_k: int = 2) -> np.ndarray:
    """Choices [P, K] of a router whose loads differ from text to text."""
    share_NE = rng.dirichlet(np.full(experts, 2.0), TEXTS)
    keys_PE = np.log(share_NE[GROUP_P]) + rng.gumbel(size=(len(GROUP_P), experts))
    return keys_PE.argsort(-1)[:, -top_k:]


def by_choices(
    ids_PK: np.ndarray, other_PK: np.ndarray, shape: tuple[int, int] = (EXPERTS, EXPERTS)
) -> LayerMatch:
    return match_by_choices(ids_PK, other_PK, size_P=ONES_P, group_P=GROUP_P, shape=shape)


def test_the_correlation_is_that_of_indicators() -> None:
    """Expert 0 of one is chosen in the same two of four places as expert 1 of the other."""
    ids_PK, other_PK = np.array([[0], [0], [1], [2]]), np.array([[1], [1], [0], [0]])
    phi_EF = choice_correlation(ids_PK, other_PK, np.ones(4), (4, 2))
    assert phi_EF[0].tolist() == pytest.approx([-1, 1])
    assert phi_EF[1].tolist() == pytest.approx([1 / 3**0.5, -1 / 3**0.5])
    assert np.isnan(phi_EF[3]).all()  # never chosen
    one_P, other_P = (ids_PK[:, 0] == 2).astype(float), (other_PK[:, 0] == 0).astype(float)
    assert phi_EF[2, 0] == pytest.approx(np.corrcoef(one_P, other_P)[0, 1])


def test_places_count_by_their_size() -> None:
    ids_PK, other_PK = np.array([[0], [1], [1]]), np.array([[0], [1], [0]])
    sized = choice_correlation(ids_PK, other_PK, np.array([2, 1, 3]), (2, 2))
    copies = np.repeat(np.arange(3), [2, 1, 3])
    copied = choice_correlation(ids_PK[copies], other_PK[copies], np.ones(6), (2, 2))
    np.testing.assert_allclose(sized, copied)


def test_a_planted_permutation_is_found_under_noise() -> None:
    rng = np.random.default_rng(0)
    ids_PK = drawn(rng)
    name_E = rng.permutation(EXPERTS)
    noisy_P = rng.random(len(ids_PK)) < 0.3
    other_PK = name_E[np.where(noisy_P[:, None], drawn(rng), ids_PK)]
    match = by_choices(ids_PK, other_PK)
    assert match.other_E.tolist() == name_E.tolist()
    assert match.matched == EXPERTS
    assert (renamed(other_PK, match, EXPERTS)[~noisy_P] == ids_PK[~noisy_P]).all()


def test_unrelated_routers_match_nobody_in_95_of_100_layers() -> None:
    """Texts of their own loads, which would look alike if tokens were taken for independent."""
    rng = np.random.default_rng(1)
    layers = 60
    wrong = sum(by_choices(drawn(rng), drawn(rng)).matched > 0 for _ in range(layers))
    assert wrong <= 7  # 3 are expected, more than 7 in 1 of 100 such tests


def test_experts_beyond_the_others_and_dead_ones_have_no_partner() -> None:
    ids_PK = drawn(np.random.default_rng(2), experts=6)
    other_PK = np.where(ids_PK < 4, ids_PK, -1)
    match = by_choices(ids_PK, other_PK, shape=(8, 4))
    assert match.other_E.tolist() == [0, 1, 2, 3] + [UNMATCHED] * 4
    assert np.isnan(match.similarity_EF[6:]).all()
    assert (match.partner_E[4:] == UNMATCHED).all()


def test_too_few_texts_match_nobody() -> None:
    ids_PK = drawn(np.random.default_rng(3))
    few_P = GROUP_P // 8  # five groups
    match = match_by_choices(ids_PK, ids_PK, size_P=ONES_P, group_P=few_P, shape=(EXPERTS, EXPERTS))
    assert np.isnan(match.chance)
    assert match.matched == 0
    assert match.partner_E.tolist() == list(range(EXPERTS))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_the_assignment_adds_up_to_the_most(rows: int, columns: int, seed: int) -> None:
    similarity_EF = np.random.default_rng(seed).uniform(-1, 1, (rows, columns))
    match = assigned(similarity_EF, -2.0)
    given_E = match.partner_E != UNMATCHED
    total = similarity_EF[np.flatnonzero(given_E), match.partner_E[given_E]].sum()
    best = similarity_EF[linear_sum_assignment(-similarity_EF)].sum()
    assert total == pytest.approx(best)
    assert given_E.sum() == min(rows, columns)


def test_an_expert_that_chance_reaches_is_not_matched() -> None:
    match = assigned(np.array([[0.9, 0.1], [0.1, 0.2]]), 0.3)
    assert (match.other_E.tolist(), match.partner_E.tolist()) == ([0, UNMATCHED], [0, 1])


def test_choices_of_unmatched_experts_have_names_that_nobody_else_has() -> None:
    match = assigned(np.array([[0.1, 0.9], [0.2, 0.1]]), 0.3)
    assert renamed(np.array([[1, 0], [0, -1]]), match, 2).tolist() == [[0, 2], [2, -1]]


def test_weights_find_planted_experts_and_no_unrelated_ones() -> None:
    rng = np.random.default_rng(4)
    weights_ED = rng.normal(size=(24, 600))
    name_E = rng.permutation(24)
    other_FD = np.empty_like(weights_ED)
    other_FD[name_E] = weights_ED + rng.normal(size=weights_ED.shape)
    other_FD[name_E[:4]] = rng.normal(size=(4, 600))  # four are new
    match = match_by_weights(weights_ED, 3 * other_FD)
    assert match.other_E.tolist() == [UNMATCHED] * 4 + name_E[4:].tolist()
    unrelated = [match_by_weights(*rng.normal(size=(2, 24, 600))).matched > 0 for _ in range(100)]
    assert sum(unrelated) <= 11  # 5 are expected


@pytest.mark.parametrize("experts", [3, 4, 8])
def test_few_experts_are_matched_by_weights_and_unrelated_ones_are_not(experts: int) -> None:
    rng = np.random.default_rng(8)
    weights_ED = rng.normal(size=(experts, 600))
    other_FD = weights_ED[::-1] + 0.1 * rng.normal(size=weights_ED.shape)
    assert match_by_weights(weights_ED, other_FD).other_E.tolist() == [*range(experts)][::-1]
    unrelated = [
        match_by_weights(*rng.normal(size=(2, experts, 600))).matched > 0 for _ in range(200)
    ]
    assert sum(unrelated) <= 19  # 10 are expected


def test_of_two_experts_weights_do_not_tell_chance() -> None:
    weights_ED = np.random.default_rng(9).normal(size=(2, 600))
    match = match_by_weights(weights_ED, weights_ED)
    assert (match.matched, np.isnan(match.chance)) == (0, True)
    assert match.partner_E.tolist() == [0, 1]


def test_a_direction_that_all_experts_share_is_no_correspondence() -> None:
    rng = np.random.default_rng(5)
    common = 3 * rng.normal(size=600)
    first, second = common + rng.normal(size=(2, 24, 600))
    assert match_by_weights(first, second).matched <= 1


@pytest.mark.parametrize(
    ("layers", "others", "expected"),
    [(3, 3, [0, 1, 2]), (3, 5, [0, 2, 4]), (5, 3, [0, 1, 1, 2, 2]), (1, 4, [0]), (2, 1, [0, 0])],
)
def test_layers_correspond_by_relative_depth(layers: int, others: int, expected: list[int]) -> None:
    assert corresponding_layers(layers, others).tolist() == expected


def test_a_sample_is_whole_texts_of_those_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PLACES", 4)
    unit_P = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    place = text_sample(unit_P, unit_P != 1)
    assert sorted(place.tolist()) == [0, 1, 2, 5, 6, 7]
    assert len(text_sample(unit_P, unit_P == 9)) == 0
    assert text_sample(unit_P, unit_P != 1, most=3).tolist() == place[::2].tolist()


def test_large_shapes_are_matched_by_fewer_places() -> None:
    assert enough_places((8, 8), [(256, 256)] * 58) == module.MAX_PAIRS // (64 * 58)
    by_product = module.MAX_PAIRS // (64 * 64 // module.OF_PRODUCT + 1)
    assert enough_places((64, 64), [(64, 64)]) == by_product


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 9), st.integers(0, 99))
def test_pairs_counted_and_multiplied_are_those_met(
    rank: int, other_rank: int, shift: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ids_PK = rng.permuted(np.tile(np.arange(-1, 4), (10, 1)), axis=1)[:, :rank]
    other_PK = rng.permuted(np.tile(np.arange(-1, 3), (10, 1)), axis=1)[:, :other_rank]
    size_P = rng.integers(1, 5, 10)
    expected_EF = np.zeros((4, 3))
    for size, ids_K, other_K in zip(size_P, ids_PK, np.roll(other_PK, shift, 0), strict=True):
        for expert in ids_K[ids_K >= 0]:
            expected_EF[expert, other_K[other_K >= 0]] += size
    for factor in (0, 16):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, "OF_PRODUCT", factor)
            counts = module._counts(ids_PK, other_PK, size_P, (4, 3))
        assert (counts(shift) == expected_EF).all()


def test_cosines_do_not_depend_on_the_blocks_they_are_computed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first_ED, second_FD = np.random.default_rng(6).normal(size=(2, 5, 100)).astype(np.float32)
    size_EF = np.linalg.norm(first_ED, axis=1)[:, None] * np.linalg.norm(second_FD, axis=1)
    monkeypatch.setattr(module, "BLOCK", 7)
    match = match_by_weights(first_ED, second_FD)
    assert match.similarity_EF == pytest.approx(first_ED @ second_FD.T / size_EF, abs=1e-6)


def test_an_expert_without_weights_of_its_own_is_not_matched() -> None:
    weights_ED = np.random.default_rng(7).normal(size=(8, 600))
    other_FD = weights_ED.copy()
    other_FD[3] = np.nan
    match = match_by_weights(weights_ED, other_FD)
    assert match.other_E.tolist() == [0, 1, 2, UNMATCHED, 4, 5, 6, 7]


def matched_as(*other: int) -> LayerMatch:
    """The first's experts, one after the other, with these of the second."""
    other_E = np.array(other)
    return LayerMatch(
        similarity_EF=np.zeros((len(other), 4)), chance=0.0, other_E=other_E, partner_E=other_E
    )


def test_two_ways_of_matching_agree_where_the_partner_is_the_same() -> None:
    by_routing = [matched_as(0, 1, 2, 3), matched_as(2, UNMATCHED, 1)]
    by_weights = [matched_as(0, 1, 3, 2), matched_as(2, 0, UNMATCHED)]
    # 4 of 4 experts have each one chance in 4, in the second layer 1 of 1 has one chance in 2
    assert matching_agreement(by_routing, by_weights) == Agreement(both=5, same=3, chance=1.5)
    nobody = [matched_as(UNMATCHED, UNMATCHED)]
    assert matching_agreement(nobody, nobody) == Agreement(0, 0, 0.0)


@given(
    st.permutations([0, 1, 2, 3, UNMATCHED]),
    st.permutations([0, 1, 2, UNMATCHED, UNMATCHED]),
)
def test_agreement_by_chance_is_the_mean_over_all_ways_to_deal_partners(
    given_E: list[int], other_E: list[int]
) -> None:
    places = [place for place, other in enumerate(other_E) if other != UNMATCHED]
    same = []
    for order in permutations(places):
        dealt_E = list(other_E)
        for place, source in zip(places, order, strict=True):
            dealt_E[place] = other_E[source]
        same.append(matching_agreement([matched_as(*given_E)], [matched_as(*dealt_E)]).same)
    expected = matching_agreement([matched_as(*given_E)], [matched_as(*other_E)]).chance
    assert expected == pytest.approx(np.mean(same))
