import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import pairs
from analysis.fixed_loads import feasible, fixed_loads
from analysis.groups import NOT_ENOUGH, effective_number
from tests.routers import random_choices


def curveball(chosen_TE: np.ndarray, rng: np.random.Generator, swaps: int) -> np.ndarray:
    """Trades of what one of two tokens chose and the other did not (Strona et al. 2014)."""
    chosen_TE = chosen_TE.copy()
    for _ in range(swaps):
        one, other = rng.choice(len(chosen_TE), 2, replace=False)
        (differ,) = np.nonzero(chosen_TE[one] != chosen_TE[other])
        mine = np.zeros(len(differ), bool)
        mine[rng.permutation(len(differ))[: chosen_TE[one, differ].sum()]] = True
        chosen_TE[one, differ] = mine
        chosen_TE[other, differ] = ~mine
    return chosen_TE


def pair_tokens(chosen_TE: np.ndarray) -> np.ndarray:
    counts_EE = chosen_TE.T.astype(int) @ chosen_TE
    return counts_EE[np.triu_indices(len(counts_EE), 1)]


@pytest.mark.slow
@pytest.mark.parametrize("vary", [False, True])
def test_the_load_null_is_what_curveball_swaps_sample(vary: bool) -> None:
    rng = np.random.default_rng(0)
    chosen_TE, _ = random_choices(
        rng, num_tokens=60, top_k=3, log_weights_E=[1.5, 0.5, 0, 0, -0.5, -1]
    )
    if vary:
        chosen_TE[::3] = np.eye(6, dtype=bool)[chosen_TE[::3].argmax(-1)]  # a third chooses one
    samples = []
    for _ in range(1_200):
        chosen_TE = curveball(chosen_TE, rng, 60)
        samples.append(pair_tokens(chosen_TE))
    k_V, tokens_V = np.unique(chosen_TE.sum(-1), return_counts=True)
    law = fixed_loads(chosen_TE.sum(0), k_V=k_V, tokens_V=tokens_V)
    assert tokens_V @ law.pair_VP == pytest.approx(np.mean(samples, 0), abs=0.35)  # of up to 26
    assert np.sqrt(law.variance_P) == pytest.approx(np.std(samples, 0), rel=0.12, abs=0.1)


def test_two_experts_that_come_together_stand_out() -> None:
    rng = np.random.default_rng(1)
    chosen_TE, document_T = random_choices(
        rng, num_tokens=12_000, top_k=3, log_weights_E=np.zeros(10)
    )
    joined_T = rng.random(len(chosen_TE)) < 0.1
    chosen_TE[joined_T] = False
    chosen_TE[joined_T, :2] = True
    chosen_TE[joined_T, rng.integers(2, 10, joined_T.sum())] = True
    table = pairs.pair_significance(chosen_TE, document_T).set_index(["expert_a", "expert_b"])
    first, second = table.z_load.abs().sort_values(ascending=False).head(2)
    assert table.z_load.idxmax() == (0, 1)
    assert first > 20
    assert (
        second < first / 3
    )  # the others meet a little more often where 0 and 1 leave them together


def test_uneven_loads_are_pairs_for_the_uniform_null_only() -> None:
    rng = np.random.default_rng(2)
    log_weights_E = [2, 2, 0, 0, 0, 0, 0, 0]
    chosen_TE, document_T = random_choices(
        rng, num_tokens=8_000, top_k=2, log_weights_E=log_weights_E
    )
    table = pairs.pair_significance(chosen_TE, document_T)
    assert table.z_uniform[0] > 10  # experts 0 and 1 are busy, so they meet
    assert abs(table.z_load[0]) < 3
    assert (table.q_uniform < 0.05).mean() > 0.9
    assert (table.q_load < 0.05).sum() == 0


def test_documents_that_repeat_themselves_fool_swaps_and_not_the_z_score() -> None:
    rng = np.random.default_rng(3)
    false: dict[str, list[float]] = {"documents": [], "swaps": []}
    for _ in range(10):
        chosen_TE, document_T = random_choices(
            rng, num_tokens=8_000, top_k=3, log_weights_E=np.zeros(12), documents=100, style=1.0
        )
        table = pairs.pair_significance(chosen_TE, document_T)
        false["documents"].append((table.p_load < 0.05).mean())
        false["swaps"].append((table.z_swaps.abs() > 1.96).mean())
    assert np.mean(false["documents"]) < 0.065
    assert np.mean(false["swaps"]) > 0.2


def test_counts_and_expectations_of_four_tokens() -> None:
    chosen_TE = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    table = pairs.pair_significance(chosen_TE, np.array([0, 0, 1, 1]))
    assert table.tokens.tolist() == [2, 1, 1]
    assert table.expected_uniform.tolist() == pytest.approx([4 / 3] * 3)  # 4 x 2 x 1 / (3 x 2)
    assert table.expected_load.tolist() == pytest.approx([2, 1, 1])  # at k = 2 of 3 loads decide
    assert table.reason.unique().tolist() == [NOT_ENOUGH]
    assert table.p_load.isna().all()
    many = pairs.pair_significance(np.tile(chosen_TE, (3, 1)), np.arange(12))
    assert many.expected_uniform.tolist() == pytest.approx([4] * 3)
    assert many.reason.tolist()[1:] == ["fewer than 5 tokens expected"] * 2  # 3 and 3
    more = pairs.pair_significance(np.tile(chosen_TE, (6, 1)), np.arange(24))
    assert more.reason.unique().tolist() == ["the loads of the two experts allow no other number"]
    assert many[["p_uniform", "p_load"]].isna().all(axis=None)


def test_what_a_load_fixes_is_said_and_left_empty() -> None:
    rng = np.random.default_rng(4)
    free_TE, document_T = random_choices(rng, num_tokens=900, top_k=2, log_weights_E=np.zeros(5))
    always, dead = np.ones((900, 1), bool), np.zeros((900, 1), bool)
    table = pairs.pair_significance(np.hstack([free_TE, always, dead]), document_T)
    reasons = table.set_index(["expert_a", "expert_b"]).reason
    assert reasons[(0, 1)] == ""
    assert reasons[(0, 5)] == "an expert that every token chose"
    assert reasons[(5, 6)] == "an expert that was never chosen"
    empty = table[table.reason != ""]
    assert empty[["z_load", "p_load", "q_load", "z_swaps"]].isna().all(axis=None)
    assert (empty.expected_load - empty.tokens).abs().max() < 1e-6
    assert not np.isinf(table.select_dtypes("number").astype(float)).any(axis=None)


@pytest.mark.parametrize("vary", [False, True])
def test_spreads_are_those_of_the_residuals_of_every_group(vary: bool) -> None:
    rng = np.random.default_rng(6)
    chosen_TE, _ = random_choices(
        rng, num_tokens=400, top_k=3, log_weights_E=[1.0, 0.5, 0, 0, -0.5, -1]
    )
    if vary:
        chosen_TE[::3] = np.eye(6, dtype=bool)[chosen_TE[::3].argmax(-1)]
    group_T = np.sort(rng.integers(0, 30, 400))
    k_V, place_T = np.unique(chosen_TE.sum(-1), return_inverse=True)
    k_NV = np.array([np.bincount(place_T[group_T == n], minlength=len(k_V)) for n in range(30)])
    law = fixed_loads(chosen_TE.sum(0), k_V=k_V, tokens_V=k_NV.sum(0))
    first_P, second_P = np.triu_indices(6, 1)
    covariance_PE = law.part_FP.T @ law.base_FE
    covariance_PE[np.arange(15), first_P] += law.own_2P[0]
    covariance_PE[np.arange(15), second_P] += law.own_2P[1]
    table = pairs.pair_significance(chosen_TE, group_T)
    uniform_P = np.repeat((k_V * (k_V - 1) / 30)[:, None], 15, axis=1)
    for name, chance_VP, slope_PE in (
        ("uniform", uniform_P, np.zeros((15, 6))),
        ("load", law.pair_VP, covariance_PE @ law.inverse_EE),
    ):
        pairs_NP = np.array([pair_tokens(chosen_TE[group_T == n]) for n in range(30)])
        load_NE = np.array([chosen_TE[group_T == n].sum(0) for n in range(30)])
        away_NE = load_NE - (k_NV @ law.single_VE if name == "load" else 0)
        residual_NP = pairs_NP - k_NV @ chance_VP - away_NE @ slope_PE.T
        length_N = k_NV.sum(-1)
        residual_NP = residual_NP - np.outer(length_N, residual_NP.sum(0) / length_N.sum())
        effective = effective_number(length_N)
        spread_P = (residual_NP**2).sum(0) * effective / (effective - 1)
        expected_P = k_NV.sum(0) @ chance_VP
        least_P = law.variance_P if name == "load" else k_NV.sum(0) @ (chance_VP * (1 - chance_VP))
        z_P = (pairs_NP.sum(0) - expected_P) / np.sqrt(np.maximum(spread_P, least_P))
        found_P = table[f"z_{name}"].to_numpy(float, na_value=np.nan)
        assert np.isfinite(found_P).sum() > 5
        assert found_P == pytest.approx(np.where(np.isnan(found_P), np.nan, z_P), nan_ok=True)


def test_a_law_of_too_many_experts_is_left_empty_and_k_of_e_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert feasible(384, np.array([8]))
    assert feasible(256, np.arange(1, 129))
    assert not feasible(1_000, np.array([8]))
    monkeypatch.setattr("analysis.fixed_loads.MAX_NUMBERS", 1_000)
    rng = np.random.default_rng(0)
    rank_TE = rng.random((40, 16)).argsort(-1)
    chosen_TE = rank_TE < rng.integers(8, 16, size=(40, 1))
    table = pairs.pair_significance(chosen_TE, np.repeat(np.arange(10), 4))
    assert set(table.reason) == {pairs.TOO_MANY}
    assert table[["expected_load", "lift_load", "p_load", "q_load"]].isna().all(axis=None)
    k_T = chosen_TE.sum(-1)
    expected = (k_T * (k_T - 1)).sum() / (16 * 15)  # every token draws its own k
    assert table.expected_uniform.to_numpy(float) == pytest.approx(expected)
    assert table.q_uniform.notna().all()


@pytest.mark.parametrize("sizes", [[600], [67] * 8 + [64], [300] + [15] * 20])
def test_few_groups_have_no_spread(sizes: list[int]) -> None:
    """One, nine, and 21 of which one holds half of the tokens: (300 + 300)^2 / 94500 = 3.8."""
    rng = np.random.default_rng(5)
    chosen_TE, _ = random_choices(rng, num_tokens=600, top_k=2, log_weights_E=np.zeros(4))
    table = pairs.pair_significance(chosen_TE, np.repeat(np.arange(len(sizes)), sizes))
    assert table.reason.unique().tolist() == [NOT_ENOUGH]
    assert table[["z_uniform", "q_uniform", "z_load", "q_load"]].isna().all(axis=None)
    assert table.z_swaps.notna().all()


@pytest.mark.parametrize(
    ("chosen_TE", "message"),
    [
        (np.eye(4, dtype=bool), "one of 4 experts"),
        (np.ones((4, 3), dtype=bool), "all 3 experts"),
        (np.zeros((4, 3), dtype=bool), "no routed tokens"),
    ],
    ids=["one chosen", "all chosen", "nothing chosen"],
)
def test_a_layer_without_pairs_is_refused(chosen_TE: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pairs.pair_significance(chosen_TE, np.arange(4))


def test_empty_cells_are_not_nan() -> None:
    chosen_TE = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    table = pairs.pair_significance(chosen_TE, np.array([0, 0, 1, 1]))
    assert table.p_load[0] is pd.NA


def test_tokens_that_all_choose_the_same_experts_are_refused() -> None:
    chosen_TE = np.array([[True, True, False, False]] * 3)
    with pytest.raises(ValueError, match="every token chooses the same experts"):
        pairs.pair_significance(chosen_TE, np.arange(3))


def test_the_interval_of_a_lift_is_as_wide_as_its_t() -> None:
    chosen_TE, document_T = random_choices(
        np.random.default_rng(0), num_tokens=1_000, top_k=2, log_weights_E=[0.5, 0, 0, 0]
    )
    found = pairs.pair_significance(chosen_TE, document_T).iloc[0]
    assert found.low_load < found.lift_load < found.high_load
    deviation = (found.tokens - found.expected_load) / found.z_load
    half_width = stats.t.isf(0.025, 99) * deviation / found.expected_load
    assert found.high_load - found.lift_load == pytest.approx(half_width)
