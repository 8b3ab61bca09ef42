from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fixed_loads import fixed_loads


def test_equal_loads_give_the_uniform_null() -> None:
    law = fixed_loads(np.full(6, 50), k_V=np.array([3]), tokens_V=np.array([100]))
    assert law.single_VE[0] == pytest.approx(3 / 6)
    assert law.pair_VP[0] == pytest.approx(3 * 2 / (6 * 5))


def test_the_law_is_that_of_products_of_weights() -> None:
    weights_E = np.array([1.0, 2.0, 4.0, 1.0])  # so {1, 2} is 8 times as likely as {0, 3}
    chance = {ab: weights_E[list(ab)].prod() for ab in combinations(range(4), 2)}
    share_E = np.zeros(4)
    for ab, weight in chance.items():
        share_E[list(ab)] += weight / sum(chance.values())
    law = fixed_loads(share_E * 800, k_V=np.array([2]), tokens_V=np.array([800]))
    expected = [chance[ab] / sum(chance.values()) for ab in combinations(range(4), 2)]
    assert law.pair_VP[0] == pytest.approx(expected, abs=1e-7)


def test_the_law_keeps_every_load_of_64_uneven_experts() -> None:
    loads_E = 1.0 / np.arange(1, 65) ** 0.7
    tokens_E = loads_E * 6 / loads_E.sum() * 10_000
    law = fixed_loads(tokens_E, k_V=np.array([6]), tokens_V=np.array([10_000]))
    assert law.single_VE[0] * 10_000 == pytest.approx(tokens_E, abs=1e-3)
    assert law.pair_VP.sum() == pytest.approx(6 * 5 / 2)


@pytest.mark.parametrize(
    ("num_experts", "k_V"), [(4, [0, 3]), (16, [15]), (64, [0, 6]), (5, [0, 2, 5])]
)
def test_loads_that_nearly_every_token_or_none_adds_to_are_met(
    num_experts: int, k_V: list[int]
) -> None:
    rng = np.random.default_rng(1)
    tokens_V = rng.integers(500, 1_000, len(k_V))
    load_E = np.full(num_experts, tokens_V @ k_V / num_experts)
    most = tokens_V[np.array(k_V) > 0].sum()  # tokens that choose at all
    load_E[0] = 0.9997 * most
    load_E[1:] *= (tokens_V @ k_V - load_E[0]) / load_E[1:].sum()
    law = fixed_loads(load_E, k_V=np.array(k_V), tokens_V=tokens_V)
    assert tokens_V @ law.single_VE == pytest.approx(load_E, abs=1e-5)


@given(st.integers(0, 2**32), st.integers(2, 7), st.data())
@settings(deadline=None, max_examples=60)
def test_the_law_is_that_of_all_sets(seed: int, num_experts: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    k_V = np.array(sorted(data.draw(st.sets(st.integers(0, num_experts), min_size=1))))
    tokens_V = rng.integers(50, 1_000, len(k_V))
    weights_E = np.exp(rng.normal(size=num_experts) * rng.choice([0.0, 0.5, 2.0]))
    first_P, second_P = np.triu_indices(num_experts, 1)
    single_VE = np.zeros((len(k_V), num_experts))
    pair_VP = np.zeros((len(k_V), len(first_P)))
    triple_PE, both_EE = np.zeros((len(first_P), num_experts)), np.zeros((num_experts,) * 2)
    for v, k in enumerate(k_V):
        sets = [list(chosen) for chosen in combinations(range(num_experts), k)]
        chance_S = np.array([weights_E[chosen].prod() for chosen in sets])
        for chance, chosen in zip(chance_S / chance_S.sum(), sets, strict=True):
            member_E = np.isin(np.arange(num_experts), chosen).astype(float)
            pair_P = member_E[first_P] * member_E[second_P]
            single_VE[v] += chance * member_E
            pair_VP[v] += chance * pair_P
            triple_PE += tokens_V[v] * chance * np.outer(pair_P, member_E)
            both_EE += tokens_V[v] * chance * np.outer(member_E, member_E)
    load_E = tokens_V @ single_VE
    if load_E.min() < 1 or load_E.max() > tokens_V.sum() - 1:
        return  # not free
    law = fixed_loads(load_E, k_V=k_V, tokens_V=tokens_V)
    weighted_VE = tokens_V[:, None] * single_VE
    loads_EE = np.where(np.abs(both_EE - weighted_VE.T @ single_VE) > 1e-7, 1, 0)
    loads_EE = loads_EE * (both_EE - weighted_VE.T @ single_VE)
    inverse_EE = np.linalg.pinv(loads_EE, rcond=1e-7, hermitian=True)
    covariance_PE = (triple_PE - (tokens_V[:, None] * pair_VP).T @ single_VE).round(9)
    explained_P = ((covariance_PE @ inverse_EE) * covariance_PE).sum(-1)
    found_PE = law.part_FP.T @ law.base_FE
    found_PE[np.arange(len(first_P)), first_P] += law.own_2P[0]
    found_PE[np.arange(len(first_P)), second_P] += law.own_2P[1]
    assert law.single_VE == pytest.approx(single_VE, abs=1e-5)
    assert law.pair_VP == pytest.approx(pair_VP, abs=1e-5)
    assert found_PE == pytest.approx(covariance_PE, abs=1e-5 * tokens_V.sum())
    free_P = tokens_V @ (pair_VP * (1 - pair_VP))
    assert law.variance_P == pytest.approx(free_P - explained_P, abs=1e-4 * tokens_V.sum())


def test_the_variance_is_that_of_fixed_loads_whatever_the_rounding() -> None:
    """Where k is fixed, one direction of the loads has no variance, and none may be made of it."""
    for seed in range(12):
        weights_E = np.exp(0.3 * np.random.default_rng(seed).normal(size=64))
        k_V, tokens_V = np.array([6]), np.array([500])
        law = fixed_loads(3_000 * weights_E / weights_E.sum(), k_V=k_V, tokens_V=tokens_V)
        assert np.abs(law.inverse_EE).max() < 1
        assert (law.variance_P > 0).all()
