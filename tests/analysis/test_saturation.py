import numpy as np
import pytest

from analysis.saturation import router_saturation, saturation_null, saturation_table


def choices(*ids_TLK: list[list[int]]) -> np.ndarray:
    """chosen_SLE of 4 experts from the ids that each token chose in each layer."""
    return np.array([[[e in ids for e in range(4)] for ids in layers] for layers in ids_TLK])


FINAL = choices([[0, 1], [2, 3]], [[0, 1], [2, 3]])
EARLY = choices([[1, 2], [0, 1]], [[3, 2], [3, 2]])


def test_saturation_is_the_share_of_final_choices_made_already() -> None:
    # layer 0: one of two, then none; layer 1: none, then both
    assert router_saturation(EARLY, FINAL).tolist() == [0.25, 0.5]


def test_a_token_counts_once_however_many_experts_it_chose() -> None:
    final = choices([[0]], [[0, 1, 2, 3]])
    early = choices([[0, 1]], [[2]])
    assert router_saturation(early, final).tolist() == [0.625]  # (1/1 + 1/4) / 2


def test_a_token_without_a_final_choice_does_not_count() -> None:
    assert router_saturation(choices([[0]], [[1]]), choices([[0]], [[]])).tolist() == [1.0]
    with pytest.raises(ValueError, match="layer 0"):
        router_saturation(choices([[0]]), choices([[]]))


def test_the_null_is_the_mean_number_chosen_over_the_experts() -> None:
    assert saturation_null(choices([[0]], [[0, 1, 2]])).tolist() == [0.5]  # 2 of 4
    assert saturation_null(FINAL).tolist() == [0.5, 0.5]


def test_saturation_of_independent_choices_is_its_null() -> None:
    rng = np.random.default_rng(0)
    many = rng.random((4000, 1, 8)).argsort(-1) < rng.integers(1, 5, (4000, 1, 1))
    few = rng.random((4000, 1, 8)).argsort(-1) < 2
    assert saturation_null(few)[0] == 0.25
    assert router_saturation(few, many)[0] == pytest.approx(0.25, abs=0.02)


def test_saturation_refuses_different_samples() -> None:
    with pytest.raises(ValueError, match="same tokens"):
        router_saturation(EARLY[:1], FINAL)


def test_saturation_table_ends_at_one() -> None:
    table = saturation_table([1, 100], {100: FINAL, 1: EARLY}.__getitem__)
    assert table.step.tolist() == [1, 1, 100, 100]
    assert table.layer_id.tolist() == [0, 1, 0, 1]
    assert table.saturation.tolist() == [0.25, 0.5, 1.0, 1.0]
    assert table.null.tolist() == [0.5] * 4


def test_saturation_table_needs_snapshots() -> None:
    taken: dict[int, np.ndarray] = {}
    with pytest.raises(ValueError, match="no snapshots"):
        saturation_table([], taken.__getitem__)
