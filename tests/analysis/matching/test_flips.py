"""What changes of a decision: by hand, and against sets compared one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.matching import flips as module
from analysis.matching.choices import Choices
from analysis.matching.flips import (
    AMOUNTS,
    MARGINS,
    Flips,
    amounts,
    flips,
    require_same_shape,
    rounding_level,
    unrelated_places,
)
from analysis.queries import TraceInfo
from tests.matched import opened, write_texts


def choices(ids: object, weights: object = None, margin: float = 0.1) -> Choices:
    """Of one layer: ids [P, K]."""
    ids_PLK = np.array(ids, np.int16)[:, None]
    weights_PLK = np.full(ids_PLK.shape, np.nan, np.float32)
    if weights is not None:
        weights_PLK = np.array(weights, np.float32)[:, None]
    margin_PL = np.full(ids_PLK.shape[:2], margin, np.float32)
    return Choices(ids_PLK=ids_PLK, weights_PLK=weights_PLK, margin_PL=margin_PL)


def decision(first: Choices, second: Choices, *, level: float = 0.0) -> dict[str, float]:
    """AMOUNTS of the first place."""
    level_P = np.full(len(first.margin_PL), level)
    row = amounts(first, second, 0, 16, level_P)[0]
    return dict(zip(AMOUNTS, row.tolist(), strict=True))


def test_the_same_choices_flip_nothing() -> None:
    one = choices([[4, 2, 7]], [[0.5, 0.3, 0.2]])
    found = decision(one, one)
    assert (found["decisions"], found["flips"], found["exchanged"]) == (1, 0, 0)
    assert (found["first_changed"], found["jaccard"], found["reversed"]) == (0, 1, 0)
    assert found["distance"] == pytest.approx(0, abs=1e-6)


def test_a_decision_that_flips_by_hand() -> None:
    """Kept: 4 and 2, in reversed order; 7 becomes 9. They share min(0.5, 0.4) + min(0.3, 0.5)."""
    found = decision(
        choices([[4, 2, 7]], [[0.5, 0.3, 0.2]]), choices([[2, 4, 9]], [[0.5, 0.4, 0.1]])
    )
    assert (found["flips"], found["choices"], found["exchanged"]) == (1, 3, 1)
    assert (found["first_changed"], found["pairs"], found["reversed"]) == (1, 1, 1)
    assert found["jaccard"] == 0.5  # 2 of 4
    assert found["distance"] == pytest.approx(1 - 0.4 - 0.3)


def test_weights_are_compared_as_shares_of_their_sum() -> None:
    one, other = choices([[0, 1]], [[0.5, 0.5]]), choices([[1, 0]], [[5, 5]])
    assert decision(one, other)["distance"] == pytest.approx(0)


def test_without_weights_there_is_no_distance() -> None:
    one, other = choices([[0, 1]]), choices([[0, 1]], [[0.5, 0.5]])
    assert decision(one, other)["weighed"] == 0
    assert decision(other, choices([[0, 1]], [[0, 0]]))["weighed"] == 0


def test_where_k_varies_one_more_choice_is_one_exchanged() -> None:
    found = decision(choices([[3, -1]]), choices([[3, 5]]))
    assert (found["flips"], found["choices"], found["exchanged"]) == (1, 2, 1)
    assert found["jaccard"] == 0.5


def test_a_decision_in_which_one_chose_nobody_is_not_compared() -> None:
    assert set(decision(choices([[-1, -1]]), choices([[3, 5]])).values()) == {0}


def test_where_all_are_chosen_nothing_flips_but_their_order() -> None:
    found = decision(choices([[0, 1, 2]]), choices([[2, 1, 0]]))
    assert (found["flips"], found["pairs"], found["reversed"]) == (0, 3, 3)


@pytest.mark.parametrize(("level", "near"), [(0.05, 0), (0.2, 1)])
def test_a_margin_within_the_level_is_near(level: float, near: int) -> None:
    found = decision(choices([[0]], margin=0.1), choices([[1]]), level=level)
    assert (found["judged"], found["near"], found["flips_near"]) == (1, near, near)
    unknown = decision(choices([[0]], margin=np.nan), choices([[1]]), level=level)
    assert (unknown["judged"], unknown["near"]) == (0, 0)


@st.composite
def two_decisions(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    chosen = st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True)
    return draw(chosen), draw(chosen)


@given(st.lists(two_decisions(), min_size=1, max_size=6))
def test_amounts_are_those_of_sets(pairs: list[tuple[list[int], list[int]]]) -> None:
    one, other = (
        choices([part[side] + [-1] * (4 - len(part[side])) for part in pairs]) for side in (0, 1)
    )
    found = amounts(one, other, 0, 8, np.zeros(len(pairs)))
    for row, (a, b) in zip(found.tolist(), pairs, strict=True):
        of = dict(zip(AMOUNTS, row, strict=True))
        kept = [expert for expert in a if expert in b]
        order = [b.index(expert) for expert in kept]
        assert of["flips"] == (set(a) != set(b))
        assert of["exchanged"] == max(len(a), len(b)) - len(kept)
        assert of["first_changed"] == (a[0] != b[0])
        assert of["jaccard"] == pytest.approx(len(kept) / len(set(a) | set(b)))
        assert of["reversed"] == sum(
            order[i] > order[j] for j in range(len(order)) for i in range(j)
        )


@given(arrays.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 3)), st.integers(0, 9))
def test_unrelated_places_keep_domains_and_give_no_place_itself(
    domain_P: np.ndarray, seed: int
) -> None:
    other_P = unrelated_places(domain_P, seed=seed)
    assert sorted(other_P) == list(range(len(domain_P)))
    assert (domain_P[other_P] == domain_P).all()
    alone_P = np.bincount(domain_P)[domain_P] == 1
    assert ((other_P == np.arange(len(domain_P))) == alone_P).all()


def of_two_groups(first: Choices, second: Choices, **options: object) -> Flips:
    """Places by turns of groups 0 and 1, all of one domain and phase."""
    places = len(first.margin_PL)
    group_P = np.arange(places) % 2
    return flips(
        first,
        second,
        num_experts=16,
        level_PL=np.zeros((places, first.ids_PLK.shape[1])),
        group_P=group_P,
        phase_P=np.zeros(places, int),
        domain_P=np.zeros(places, int),
        size_P=np.ones(places) if "size_P" not in options else np.asarray(options["size_P"]),
    )


def test_amounts_are_summed_by_group_and_sizes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    first, second = choices([[0], [1], [2], [3]]), choices([[0], [9], [9], [9]])
    found = of_two_groups(first, second, size_P=[1, 2, 4, 8])
    assert found.sums_NHLA[:, 0, 0, :2].tolist() == [[5, 4], [10, 10]]  # decisions, flips
    assert found.flipped_PL[:, 0].tolist() == [False, True, True, True]
    assert found.exchanged_PL[:, 0].tolist() == [0, 1, 1, 1]


def test_flips_are_counted_by_the_margin_of_the_first() -> None:
    first = replace(
        choices([[0], [1], [2], [3]]),
        margin_PL=np.array([[0], [2e-3], [2e-3], [np.nan]], np.float32),
    )
    found = of_two_groups(first, choices([[9], [1], [9], [9]]))
    place = int(np.searchsorted(MARGINS, 2e-3))
    decisions_B, flips_B = found.decisions_NB.sum(0), found.flips_NB.sum(0)
    assert {0: 1, place: 2} == {at: decisions_B[at] for at in np.flatnonzero(decisions_B)}
    assert (flips_B[0], flips_B[place]) == (1, 1)


def test_unrelated_routers_have_the_loads_and_nothing_else() -> None:
    """Half of all places choose 0 or 1 in both: unrelated, they differ in half of the places."""
    ids_PK = np.random.default_rng(0).integers(2, size=(4000, 1))
    found = of_two_groups(choices(ids_PK), choices(ids_PK))
    assert found.sums_NHLA[..., 1].sum() == 0
    assert found.unrelated_NHLA[..., 1].sum() / 4000 == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> TraceInfo:
    path = tmp_path_factory.mktemp("trace") / "one.duckdb"
    write_texts(path, [])
    con, info = opened(path)
    con.close()
    return info


def typed(info: TraceInfo, dtype: str) -> TraceInfo:
    return replace(info, config={"capture": {"dtype": dtype}})


def test_the_rounding_level_is_that_of_the_coarser_type_times_the_last_score(
    info: TraceInfo,
) -> None:
    scores = choices([[0, 1]], [[0.25, 0.125]])
    fine, coarse = typed(info, "float32"), typed(info, "bfloat16")
    assert rounding_level(scores, fine, fine).tolist() == [[2.0**-23]]
    assert rounding_level(scores, fine, coarse).tolist() == [[2.0**-11]]
    scaled = choices([[0, 1]], [[3.0, 1.0]])  # weights times 4: the last has a quarter
    assert rounding_level(scaled, fine, fine).tolist() == [[2.0**-22]]
    assert rounding_level(choices([[0, 1]]), fine, fine).tolist() == [[2.0**-20]]  # ids only


def test_without_types_there_is_no_rounding_level(info: TraceInfo) -> None:
    for unknown in (replace(info, config={}), typed(info, "fp4")):
        assert np.isnan(rounding_level(choices([[0]]), typed(info, "float32"), unknown)).all()


def test_other_shapes_are_refused(info: TraceInfo) -> None:
    require_same_shape(info, info)
    with pytest.raises(ValueError, match="has 1 MoE layers, one 2: their experts must be matched"):
        require_same_shape(info, replace(info, num_layers=2))
    larger = replace(info, layers=(replace(info.layers[0], num_experts=9),))
    with pytest.raises(ValueError, match="layer 0 has 8 experts in one and 9 in one"):
        require_same_shape(info, larger)
