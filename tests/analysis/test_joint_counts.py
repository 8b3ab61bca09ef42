import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import joint_counts
from analysis.joint_counts import joint_sums, summed_by_group


@given(
    st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 6), st.booleans(), st.integers(1, 30)
)
@settings(deadline=None, max_examples=60)
def test_sums_over_groups_are_those_of_every_group_by_itself(
    seed: int, tokens: int, groups: int, one_layer: bool, at_once: int
) -> None:
    rng = np.random.default_rng(seed)
    first_TA = rng.random((tokens, 5)) < rng.choice([0.0, 0.3, 1.0])
    second_TB = first_TA if one_layer else rng.random((tokens, 4)) < 0.5
    group_T = np.unique(rng.integers(0, groups, tokens), return_inverse=True)[1]
    num_groups, num_second = group_T.max() + 1, second_TB.shape[1]
    weight_NX, row_NA = rng.normal(size=(num_groups, 3)), rng.normal(size=(num_groups, 5))
    column_NB = rng.normal(size=(num_groups, num_second))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_counts, "PAIRS_AT_ONCE", at_once)
        sums = joint_sums(
            first_TA,
            second_TB,
            group_T,
            weight_NX=weight_NX,
            row_NA=row_NA,
            column_NB=column_NB,
        )
    both_NAB = np.zeros((num_groups, 5, num_second))
    for token, group in enumerate(group_T):
        both_NAB[group] += np.outer(first_TA[token], second_TB[token])
    if one_layer:
        both_NAB *= np.triu(np.ones((5, 5)), 1)
    weighted_XAB = np.einsum("nab,nx->xab", both_NAB, weight_NX)
    assert sums.weighted_XAB == pytest.approx(weighted_XAB, abs=1e-9)
    assert sums.square_AB == pytest.approx((both_NAB**2).sum(0), abs=1e-9)
    assert sums.row_AB == pytest.approx((both_NAB * row_NA[:, :, None]).sum(0), abs=1e-9)
    assert sums.column_AB == pytest.approx((both_NAB * column_NB[:, None]).sum(0), abs=1e-9)


def test_loads_of_groups() -> None:
    chosen_TE = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]], bool)
    group_T = np.array([0, 0, 1])
    assert summed_by_group(chosen_TE, group_T).tolist() == [[1, 2, 0], [0, 1, 1]]
    times_T = np.array([3, 1, 2])
    assert summed_by_group(chosen_TE, group_T, times_T).tolist() == [[3, 4, 0], [0, 2, 2]]
