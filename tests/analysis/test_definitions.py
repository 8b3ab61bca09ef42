"""The toy cases of docs/metrics.md, section "Definitions, side by side"."""

import numpy as np
import pytest

from analysis import definitions
from analysis.coactivation import coactivation_null, coactivation_rate
from analysis.load import max_violation
from analysis.saturation import router_saturation

IDS_TK = np.array([[0, 1, 2], [0, 2, 1]])  # two tokens, three of four experts, rank 0 first
PAIRS_EE = np.array([[0, 2, 2, 0], [2, 0, 2, 0], [2, 2, 0, 0], [0, 0, 0, 0]])
LOADS_E = np.array([2, 2, 2, 0])
LOADS_LE = np.array([[4, 0], [6, 6]])


def test_coactivation_of_all_pairs_and_of_neighbours_in_rank() -> None:
    assert coactivation_rate(PAIRS_EE, LOADS_E)[0, 1] == 1.0
    rate_EE = definitions.adjacent_coactivation_rate(IDS_TK, 4)
    assert rate_EE[0, 1] == rate_EE[0, 2] == 0.5
    assert rate_EE[1, 2] == 1.0
    assert np.isnan(rate_EE[3]).all()  # dead


def test_lift_with_and_without_the_correction() -> None:
    null = float(coactivation_null(PAIRS_EE, LOADS_E, 2))
    assert null == pytest.approx(8 / 9)  # 2 x 4 / (3 x 3)
    lift_EE = definitions.corrected_coactivation_lift(PAIRS_EE, LOADS_E, 2, null=null)
    assert lift_EE[0, 1] == pytest.approx(9 / 8)  # 1 without the correction
    with pytest.raises(ValueError, match="no pairs"):
        definitions.corrected_coactivation_lift(PAIRS_EE, LOADS_E, 2, null=0.0)


def test_domain_specialization_of_tokens_and_of_choices() -> None:
    tokens_LEG = LOADS_E[None, :, None]
    assert definitions.domain_token_share(tokens_LEG, np.array([2]))[0, :, 0].tolist() == [
        1,
        1,
        1,
        0,
    ]
    share_E = definitions.domain_choice_share(tokens_LEG)[0, :, 0]
    assert share_E.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_vocabulary_specialization_counts_rare_ids_in_full() -> None:
    first_VE = np.array([[6, 4], [1, 0]])
    assert definitions.mean_vocabulary_share(first_VE) == pytest.approx(0.8)  # of 0.6 and 1
    both_VE = np.array([[10, 10]])  # ten occurrences that chose both
    assert definitions.mean_vocabulary_share(both_VE, top_k=2) == 1.0


def test_vocabulary_specialization_by_the_token_that_follows() -> None:
    a, b = 7, 9
    token_id_T = np.array([a, b, a, b, a])  # two documents: a, b, a, b and a
    place_T, expert_T = np.array([0, 1, 2, 3, 100]), np.array([0, 1, 1, 0, 2])
    next_VE = definitions.next_token_choices(token_id_T, place_T, expert_T, 3)
    assert next_VE.tolist() == [[0, 1, 0], [1, 1, 0]]  # before a; before b, twice
    assert definitions.mean_vocabulary_share(next_VE) == 0.75  # of 1 and 1/2


def test_documents_of_one_token_are_followed_by_none() -> None:
    one_T = np.array([7, 7])
    next_VE = definitions.next_token_choices(one_T, np.zeros(2, int), np.array([0, 1]), 3)
    assert next_VE.shape == (0, 3)
    with pytest.raises(ValueError, match="no routed tokens"):
        definitions.mean_vocabulary_share(next_VE)


def test_saturation_of_first_choices_and_of_all() -> None:
    early_TK, final_TK = np.array([[0, 1], [2, 3]]), np.array([[1, 0], [2, 0]])
    assert definitions.rank_saturation(early_TK, final_TK, top_k=1) == 0.5
    assert definitions.rank_saturation(early_TK, final_TK, top_k=2) == 0.75  # (2/2 + 1/2) / 2
    assert definitions.rank_saturation(final_TK, final_TK, top_k=2) == 1.0
    with pytest.raises(ValueError, match="same tokens"):
        definitions.rank_saturation(early_TK, final_TK[:1], top_k=1)


def test_saturation_at_all_k_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    early_TK, final_TK = (rng.random((50, 16)).argsort(-1)[:, :8] for _ in range(2))
    chosen = [np.zeros((50, 1, 16), bool) for _ in range(2)]
    for ids_TK, chosen_TLE in zip((early_TK, final_TK), chosen, strict=True):
        np.put_along_axis(chosen_TLE[:, 0], ids_TK, True, axis=1)
    measured = definitions.rank_saturation(early_TK, final_TK, top_k=8)
    assert measured == pytest.approx(router_saturation(*chosen)[0])


def test_esft_scores_by_document_and_normalized_either_way() -> None:
    amount_NLE = np.array([[[1.0, 0.0]], [[1.0, 3.0]]])  # one token, then four
    scores_LE = definitions.esft_document_score(amount_NLE, np.array([1, 4]))
    assert scores_LE.tolist() == [[0.625, 0.375]]  # (1 + 1/4) / 2, (0 + 3/4) / 2
    assert definitions.normalized_over_experts(amount_NLE.sum(0)).tolist() == [[0.4, 0.6]]
    two_layers = np.array([[3.0, 1.0], [1.0, 1.0]])
    assert definitions.normalized_over_experts(two_layers).tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert definitions.normalized_over_layers(two_layers).tolist() == [[0.75, 0.5], [0.25, 0.5]]


def test_selection_stops_when_the_sum_reaches_the_threshold() -> None:
    score_E = np.array([0.2, 0.5, 0.3])
    assert definitions.selected_experts(score_E, 0.5).tolist() == [1]
    assert definitions.selected_experts(score_E, 0.6).tolist() == [1, 2]
    with pytest.raises(ValueError, match="missing"):
        definitions.selected_experts(np.array([np.nan]), 0.5)


def test_balancedness_both_ways() -> None:
    assert definitions.balancedness_of_sums(LOADS_LE) == 0.8  # (2 + 6) / (4 + 6)
    assert definitions.mean_balancedness(LOADS_LE) == 0.75  # of 2/4 and 6/6


def test_a_layer_without_tokens_is_balanced_to_sglang_and_nothing_to_vllm() -> None:
    with_idle_LE = np.vstack([LOADS_LE, np.zeros_like(LOADS_LE[:1])])
    assert definitions.mean_balancedness(with_idle_LE) == pytest.approx((0.5 + 1 + 1) / 3)
    assert definitions.balancedness_of_sums(with_idle_LE) == 0.8
    with pytest.raises(ValueError, match="no layer has choices"):
        definitions.balancedness_of_sums(np.zeros((2, 4)))


def test_batches_that_take_turns_are_balanced_together_only() -> None:
    tokens_BLE = np.array([[[4, 0]], [[0, 4]]])
    assert definitions.batch_max_violation(tokens_BLE).tolist() == [1.0]
    assert max_violation(tokens_BLE.sum(0)).tolist() == [0.0]


def test_layers_that_collapse_apart_look_balanced_when_pooled() -> None:
    collapsed_LE = np.array([[4, 0], [0, 4]])
    assert definitions.load_balance_loss(collapsed_LE, collapsed_LE).tolist() == [2.0, 2.0]
    assert definitions.pooled_load_balance_loss(collapsed_LE, collapsed_LE) == 1.0
    with pytest.raises(ValueError, match="no weights"):
        definitions.load_balance_loss(collapsed_LE, np.zeros((2, 2)))
