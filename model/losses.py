"""Balance losses of DeepSeekMoE (arXiv 2401.06066, section 3.3).

T = tokens, E = routed experts, K = experts per token, G = expert groups (devices).
"""

import torch
from torch import Tensor

from data.routing import NO_EXPERT

WIDE = 8  # a token that chooses an eighth of the experts


def tokens_per_expert(expert_ids_TK: Tensor, keep_T: Tensor, num_experts: int) -> Tensor:
    """How many kept tokens chose each expert, [E], float32; NO_EXPERT is no choice."""
    top_k = expert_ids_TK.shape[1]
    if top_k * WIDE >= num_experts:  # adding many choices to few counters one by one is slow
        return by_expert(
            keep_T.float().unsqueeze(-1).expand(-1, top_k), expert_ids_TK, num_experts
        ).sum(0)
    tokens_E = torch.zeros(num_experts, device=expert_ids_TK.device)
    chosen_TK = keep_T.unsqueeze(-1) & (expert_ids_TK != NO_EXPERT)
    ids = expert_ids_TK.clamp(min=0).reshape(-1)
    return tokens_E.scatter_add(0, ids, chosen_TK.float().reshape(-1))


def by_expert(values_TK: Tensor, expert_ids_TK: Tensor, num_experts: int) -> Tensor:
    """[T, E]: the value of each expert chosen, 0 for the others."""
    place_TK = expert_ids_TK.where(expert_ids_TK != NO_EXPERT, num_experts)
    values_TX = values_TK.new_zeros(len(values_TK), num_experts + 1)
    return values_TX.scatter(-1, place_TK, values_TK)[:, :num_experts]


def load_and_probability(
    scores_TE: Tensor, tokens_E: Tensor, keep_T: Tensor
) -> tuple[Tensor, Tensor]:
    """f_E, 1 for every expert at perfect balance, and P_E, the mean score over kept tokens."""
    kept = keep_T.sum().clamp(min=1)
    load_E = tokens_E * (tokens_E.numel() / tokens_E.sum().clamp(min=1))
    probability_E = (scores_TE * keep_T.unsqueeze(-1)).sum(0) / kept
    return load_E, probability_E


def expert_balance(load_E: Tensor, probability_E: Tensor) -> Tensor:
    """sum_i f_i P_i: 1 at perfect balance, E/K when K experts take everything with certainty."""
    return (load_E * probability_E).sum()


def device_balance(load_E: Tensor, probability_E: Tensor, *, groups: int) -> Tensor:
    """sum_g f'_g P'_g with f' the mean of f and P' the sum of P over the experts of a device."""
    load_G = load_E.view(groups, -1).mean(-1)
    probability_G = probability_E.view(groups, -1).sum(-1)
    return (load_G * probability_G).sum()
