"""Sums of domains, and one group more, against the same counts with that group in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.domain_sums import Groups
from analysis.influence import largest_multiple, spread, spread_of
from analysis.ratios import ratio, ratio_and_with_one_more


@st.composite
def counted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NE and domain_id_N of up to four domains: empty ones, groups without tokens, dead
    experts, groups all alike."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_groups, num_experts = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    domain_id_N = rng.choice(draw(st.sampled_from([[0], [0, 2], [0, 1, 3]])), num_groups)
    tokens_NE = rng.poisson(rng.gamma(0.7, 9, (num_groups, 1)) * rng.dirichlet([0.7] * num_experts))
    if draw(st.booleans()):
        tokens_NE[:] = np.arange(num_groups)[:, None] * np.arange(num_experts)
    return tokens_NE, domain_id_N


@settings(deadline=None)
@given(counted())
def test_a_group_more_is_as_if_it_had_been_counted(
    of: tuple[np.ndarray, np.ndarray],
) -> None:
    tokens_NE, domain_id_N = of
    groups = Groups.of(tokens_NE, domain_id_N, num_domains=4)
    share_GE = np.random.default_rng(0).uniform(0, 1.3, (4, tokens_NE.shape[1]))
    sums, more = groups.sums_with_missed(share_GE)
    for domain_id in np.unique(domain_id_N):
        added_E = np.minimum(share_GE[domain_id], 1)
        added_E = added_E * tokens_NE[domain_id_N == domain_id].sum(-1).mean()
        with_it = np.concatenate([tokens_NE, added_E[None]]), np.append(domain_id_N, domain_id)
        known = spread(*with_it, num_domains=4)
        found = spread_of(sums.with_domain(domain_id, more))
        unlike_EG = ~(known.variance_EG < 1e-12)  # elsewhere both are rounding, and no error
        assert not (found.variance_EG > 1e-12)[~unlike_EG].any()
        for name in known.__dataclass_fields__:
            values = getattr(known, name), getattr(found, name)
            if name in ("variance_EG", "freedom_EG"):
                values = values[0][unlike_EG], values[1][unlike_EG]
            near = pytest.approx(values[0], rel=1e-9, abs=1e-9, nan_ok=True)
            assert values[1] == near, name


@settings(deadline=None)
@given(counted())
def test_peaks_without_a_domain_are_of_all_others_one_by_one(
    of: tuple[np.ndarray, np.ndarray],
) -> None:
    tokens_NE, domain_id_N = of
    groups = Groups.of(tokens_NE, domain_id_N, num_domains=4)
    peak_GE = groups.peaks_without_each()
    for domain_id in range(4):
        others_NE = tokens_NE[domain_id_N != domain_id]
        if len(others_NE) == 0:
            assert not peak_GE[domain_id].any()
            continue
        length_N = others_NE.sum(-1)
        known_E = (others_NE / np.maximum(np.maximum(length_N, length_N.mean()), 1)[:, None]).max(0)
        assert peak_GE[domain_id] == pytest.approx(known_E, rel=1e-12)
    length_N = np.maximum(np.maximum(tokens_NE.sum(-1), tokens_NE.sum(-1).mean()), 1)
    assert groups.peaks() == pytest.approx((tokens_NE / length_N[:, None]).max(0), rel=1e-12)


def test_the_squared_residuals_are_what_amounts_differ_from_their_part_of_the_size() -> None:
    amount_NP, size_N = np.array([[6.0, 2.0], [1.0, 5.0]]), np.array([2, 5])
    assert ratio(amount_NP, size_N).square_P.tolist() == [16 + 16, 0 + 0]  # ratios of 1
    own, more = ratio_and_with_one_more(amount_NP, size_N, np.array([0.0, 7.0]))
    assert (own.number, more.number, more.size) == (2, 3, 14)
    assert more.estimate_P.tolist() == [0.5, 1]


def test_nine_in_ten_experts_set_the_least_multiple() -> None:
    times_E = largest_multiple(np.array([0.2, 0.1, 0.0]), np.array([0.1, 0.1, 0.0]))
    assert times_E.tolist() == pytest.approx([2, 1.9, 1.9])  # a dead one as well
    assert largest_multiple(np.zeros(2), np.zeros(2)).tolist() == [1, 1]
