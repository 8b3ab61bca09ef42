"""Definitions of papers and of released code, where they differ from ours or from each other.

T = tokens, N = documents, L = MoE layers, E = routed experts, K = chosen (rank 0 first), V = token
ids, B = batches, G = domains. docs/metrics.md has each on a toy case.
"""

import numpy as np

from analysis.coactivation import coactivation_lift
from analysis.load import max_violation


def adjacent_coactivation_rate(ids_TK: np.ndarray, num_experts: int) -> np.ndarray:
    """OLMoE's code: only pairs of neighbouring rank, over the row's load [E, E]; NaN for dead."""
    pairs_EE = np.zeros((num_experts, num_experts))
    np.add.at(pairs_EE, (ids_TK[:, :-1].ravel(), ids_TK[:, 1:].ravel()), 1)
    tokens_E = np.bincount(ids_TK.ravel(), minlength=num_experts)[:, None]
    rate_EE = np.full(pairs_EE.shape, np.nan)
    np.divide(pairs_EE + pairs_EE.T, tokens_E, out=rate_EE, where=tokens_E > 0)
    np.fill_diagonal(rate_EE, np.nan)
    return rate_EE


def corrected_coactivation_lift(
    pairs_EE: np.ndarray, tokens_E: np.ndarray, num_tokens: int, *, null: float
) -> np.ndarray:
    """Lift over what k of E alone gives, coactivation_null: 1 without preference."""
    if null == 0:
        raise ValueError("every token chooses one expert, so there are no pairs to compare")
    return coactivation_lift(pairs_EE, tokens_E, num_tokens) / null


def domain_token_share(tokens_LEG: np.ndarray, tokens_G: np.ndarray) -> np.ndarray:
    """OLMoE's paper: share of a domain's tokens that chose an expert; over experts adds up to k."""
    return _over(tokens_LEG, tokens_G)


def domain_choice_share(tokens_LEG: np.ndarray) -> np.ndarray:
    """OLMoE's code: share of a domain's choices; over experts adds up to 1."""
    return _over(tokens_LEG, tokens_LEG.sum(-2, keepdims=True))


def mean_vocabulary_share(tokens_VE: np.ndarray, *, top_k: int = 1) -> float:
    """OLMoE's code: mean over every id that occurs, rare ones too, of its busiest expert's share.

    With top_k > 1 tokens_VE counts all k choices, and the share is of occurrences.
    """
    choices_V = tokens_VE.sum(-1)
    if not choices_V.any():
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    often_V = choices_V > 0
    return float((tokens_VE.max(-1)[often_V] / (choices_V[often_V] // top_k)).mean())


def next_token_choices(
    token_id_T: np.ndarray, place_T: np.ndarray, expert_T: np.ndarray, num_experts: int
) -> np.ndarray:
    """OLMoE's code: how often a token before token id v chose expert e first, tokens_VE.

    A token's place is one more than that of the token before it in its document, and no document
    begins where another ends. Rows are the ids that follow a token.
    """
    follows_T = place_T[1:] == place_T[:-1] + 1
    next_id, row = np.unique(token_id_T[1:][follows_T], return_inverse=True)
    tokens_VE = np.zeros((len(next_id), num_experts), dtype=np.int64)
    np.add.at(tokens_VE, (row, expert_T[:-1][follows_T]), 1)
    return tokens_VE


def rank_saturation(ids_TK: np.ndarray, final_TK: np.ndarray, *, top_k: int) -> float:
    """OLMoE's code: of each token's first top_k experts at the last step, the share among its first
    top_k at an earlier one, mean over tokens; rank 0 first."""
    if ids_TK.shape != final_TK.shape or ids_TK.size == 0:
        raise ValueError(
            f"choices {ids_TK.shape} and {final_TK.shape}: saturation compares the same tokens"
        )
    early, final = ids_TK[:, :top_k, None], final_TK[:, None, :top_k]
    return float((early == final).sum() / final.size)


def esft_document_score(amount_NLE: np.ndarray, tokens_N: np.ndarray) -> np.ndarray:
    """ESFT's paper: mean over documents of the mean over their tokens [L, E].

    Of the gate weights: gate score. Of choices over k: token-selection ratio.
    """
    return (amount_NLE / tokens_N[:, None, None]).mean(0)


def normalized_over_experts(amount_LE: np.ndarray) -> np.ndarray:
    """Share of a layer's amount: what a threshold p of the layer's relevance needs."""
    return _over(amount_LE, amount_LE.sum(-1, keepdims=True))


def normalized_over_layers(amount_LE: np.ndarray) -> np.ndarray:
    """ESFT's code: an expert number's amount over the same number of all layers."""
    return _over(amount_LE, amount_LE.sum(0, keepdims=True))


def selected_experts(score_E: np.ndarray, threshold: float) -> np.ndarray:
    """Experts, best first, until their scores add up to the threshold; all where they never do."""
    if np.isnan(score_E).any():
        raise ValueError("a score is missing: the layer has no choices, or the trace no weights")
    order_E = np.argsort(-score_E, kind="stable")
    before_E = np.cumsum(score_E[order_E]) - score_E[order_E]
    return order_E[before_E < threshold - 1e-12]


def balancedness_of_sums(tokens_LE: np.ndarray) -> float:
    """vLLM: sum over layers of the mean load over the sum of the largest; 1 when balanced."""
    largest = np.nanmax(tokens_LE, -1).sum()
    if not largest:
        raise ValueError("no layer has choices, so none is balanced")
    return float(np.nanmean(tokens_LE, -1).sum() / largest)


def mean_balancedness(tokens_LE: np.ndarray) -> float:
    """SGLang: mean over layers of mean over largest load; 1 when balanced. A layer without tokens
    is one of 1."""
    mean_L, largest_L = np.nanmean(tokens_LE, -1), np.nanmax(tokens_LE, -1)
    ratio_L = np.divide(mean_L, largest_L, out=np.ones_like(mean_L), where=largest_L > 0)
    return float(ratio_L.mean())


def batch_max_violation(tokens_BLE: np.ndarray) -> np.ndarray:
    """MaxVio of each batch, averaged over batches [L] (arXiv 2408.15664)."""
    return max_violation(tokens_BLE).mean(0)


def load_balance_loss(tokens_LE: np.ndarray, weights_LE: np.ndarray) -> np.ndarray:
    """E sum_e f_e P_e of each layer [L], f and P as shares: 1 when balanced (Switch).

    weights_LE are summed gate probabilities; of a trace only those of the chosen are known.
    """
    share_LE, weight_LE = normalized_over_experts(tokens_LE), normalized_over_experts(weights_LE)
    if np.isnan(share_LE).any() or np.isnan(weight_LE).any():
        raise ValueError("a layer has no choices, or no weights; capture a trace with weights")
    return tokens_LE.shape[-1] * (share_LE * weight_LE).sum(-1)


def pooled_load_balance_loss(tokens_LE: np.ndarray, weights_LE: np.ndarray) -> float:
    """The same of all layers' tokens together: expert 3 of one layer can make up for another's."""
    pooled = load_balance_loss(tokens_LE.sum(0, keepdims=True), weights_LE.sum(0, keepdims=True))
    return float(pooled[0])


def _over(amount: np.ndarray, total: np.ndarray) -> np.ndarray:
    """NaN where nothing was counted."""
    share = np.full(amount.shape, np.nan)
    return np.divide(amount, total, out=share, where=total > 0)
