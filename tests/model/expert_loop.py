"""The plain loop over tokens and experts that every way of running experts must agree with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.moe import Experts


def loop_over_experts(
    experts: Experts, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor
) -> Tensor:
    rows = []
    for x_D, ids_K, weights_K in zip(x_TD, expert_ids_TK, weights_TK, strict=True):
        total_D = torch.zeros_like(x_D)
        for expert, weight in zip(ids_K.tolist(), weights_K, strict=True):
            gate, up = (x_D @ experts.gate_up_EDF[expert]).chunk(2)
            total_D = total_D + weight * ((F.silu(gate) * up) @ experts.down_EFD[expert])
        rows.append(total_D)
    return torch.stack(rows)


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert ((found - expected).norm() / expected.norm()).item() <= 1e-5
