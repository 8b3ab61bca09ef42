"""Sums by permuted labels against one label after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.permutation import (
    members,
    permuted_labels,
    permuted_loads,
    studentized_excess,
    two_sided_p,
)
from analysis.permuted_sums import add_sums


@settings(deadline=None)  # the first compiles
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40), st.integers(1, 5))
def test_sums_are_over_the_groups_of_the_label(
    seed: int, num_groups: int, num_experts: int, num_domains: int
) -> None:
    rng = np.random.default_rng(seed)
    domain_id_N = rng.integers(num_domains, size=num_groups)
    labels_PN = permuted_labels(domain_id_N, permutations=3, seed=seed)
    value_NE = rng.integers(-9, 9, (num_groups, num_experts)).astype(np.float32)
    size_N = rng.integers(0, 9, num_groups).astype(np.float32)
    sums_PGSE = np.zeros((4, num_domains, 3, num_experts), np.float32)
    sizes_PG2 = np.zeros((4, num_domains, 2), np.float32)
    start_G1 = np.append(0, np.bincount(domain_id_N, minlength=num_domains).cumsum())
    padded = np.concatenate([value_NE, 0 * value_NE[:1]]), np.append(size_N, np.float32(0))
    add_sums(*padded, labels_PN, start_G1.astype(np.int32), sums_PGSE, sizes_PG2)
    member_NC = members(labels_PN, num_domains=num_domains)
    for values_NE, found_PGE in (
        (value_NE, sums_PGSE[:, :, 0]),
        (value_NE * size_N[:, None], sums_PGSE[:, :, 1]),
        (value_NE**2, sums_PGSE[:, :, 2]),
    ):
        known_EGP = permuted_loads(values_NE, member_NC, num_domains=num_domains)
        assert (found_PGE == np.moveaxis(known_EGP, -1, 0).swapaxes(1, 2)).all()
        for labels_N, found_GE in zip(labels_PN, found_PGE, strict=True):
            assert (found_GE == np.eye(num_domains)[labels_N].T @ values_NE).all()
    for labels_N, found_G2 in zip(labels_PN, sizes_PG2, strict=True):
        known_G2 = np.eye(num_domains)[labels_N].T @ np.stack([size_N, size_N**2], 1)
        assert (found_G2 == known_G2).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_excess_is_over_the_ratio_estimators_error(seed: int) -> None:
    """More experts than are summed at once; a domain of one group; groups without tokens."""
    rng = np.random.default_rng(seed)
    domain_id_N = np.append(rng.integers(3, size=25), 3)
    tokens_NE = rng.poisson(rng.gamma(1, 4, (26, 1)) * rng.gamma(1, 1, 150))
    labels_PN = permuted_labels(domain_id_N, permutations=20, seed=seed)
    load_N = tokens_NE.sum(-1)
    residual_NE = tokens_NE - np.outer(load_N, tokens_NE.sum(0) / load_N.sum())
    for of, found_PGE in studentized_excess(tokens_NE, labels_PN, num_domains=4):
        for labels_N, found_GE in zip(labels_PN, found_PGE, strict=True):
            excess_GE, spread_GE = np.zeros((2, 4, found_GE.shape[1]))
            for domain_id in range(4):
                own_NE, size_N = (
                    residual_NE[labels_N == domain_id, of],
                    load_N[labels_N == domain_id],
                )
                excess_GE[domain_id] = own_NE.sum(0)
                slope_E = own_NE.sum(0) / max(size_N.sum(), 1)
                squares_E = ((own_NE - size_N[:, None] * slope_E) ** 2).sum(0)
                spread_GE[domain_id] = squares_E * len(own_NE) / max(len(own_NE) - 1, 1)
            share_G1 = np.array([[load_N[labels_N == of].sum() / load_N.sum()] for of in range(4)])
            rest_GE = spread_GE.sum(0) - spread_GE
            variance_GE = (1 - share_G1) ** 2 * spread_GE + share_G1**2 * rest_GE
            clear = variance_GE > 1e-3 * (residual_NE[:, of] ** 2).sum(0) + 1e-3
            known_GE = excess_GE / np.sqrt(np.where(clear, variance_GE, 1))
            assert found_GE[clear] == pytest.approx(known_GE[clear], rel=1e-3, abs=1e-3)


def test_a_tail_is_counted_where_permutations_reach_and_else_fitted() -> None:
    shown_P = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    excess_PC = np.column_stack([np.append(value, shown_P) for value in (0.0, 1.0, -1.0, 5.0)])
    excess_PC = np.column_stack([excess_PC, np.append(np.nan, shown_P)]).astype(np.float32)
    p_C = two_sided_p(excess_PC, np.full(5, 60.0))
    above = (shown_P >= 1).sum()
    assert p_C[:3].tolist() == pytest.approx([1, 2 * (above + 1) / 201, 2 * (above + 1) / 201])
    edge = np.sort(shown_P.astype(np.float32))[196]  # four of 200 are 2 %
    scale = edge / stats.t.isf(5 / 201, 60)
    assert p_C[3] == pytest.approx(2 * stats.t.sf(5 / scale, 60))
    assert np.isnan(p_C[4])
