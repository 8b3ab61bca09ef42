"""Balance losses of DeepSeekMoE (arXiv 2401.06066, section 3.3).

T = tokens, E = routed experts, K = experts per token, G = expert groups (devices).
"""

import torch
from torch import Tensor


def tokens_per_expert(expert_ids_TK: Tensor, keep_T: Tensor, num_experts: int) -> Tensor:
    """How many kept tokens chose each expert, [E], float32."""
    tokens_E = torch.zeros(num_experts, device=expert_ids_TK.device)
    kept_TK = keep_T.float().unsqueeze(-1).expand(expert_ids_TK.shape)
    return tokens_E.scatter_add(0, expert_ids_TK.reshape(-1), kept_TK.reshape(-1))


def load_and_probability(
    scores_TE: Tensor, tokens_E: Tensor, keep_T: Tensor, top_k: int
) -> tuple[Tensor, Tensor]:
    """f_E, 1 for every expert at perfect balance, and P_E, the mean score over kept tokens."""
    kept = keep_T.sum().clamp(min=1)
    load_E = tokens_E * (tokens_E.numel() / (top_k * kept))
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
