"""Parameters and compute of a configuration, as the DeepSeekMoE paper counts them."""

from dataclasses import dataclass

import torch
from torch import nn

from model.config import ModelConfig
from model.moe import MoE
from model.transformer import Transformer


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    parameters: int
    active_parameters: int  # used for one token, the embedding included
    expert_parameters: int  # routed and shared
    active_expert_parameters: int
    training_flops_per_token: int  # forward and backward
    sequence_length: int  # tokens that attention looks at


def count(config: ModelConfig) -> Count:
    """Build on the meta device and count.

    Training takes 3 x (2 x activated parameters + attention) FLOPs a token: the output head
    counts, the input embedding does not, attention counts in full (4 S D a layer and token).
    """
    with torch.device("meta"):
        model = Transformer(config)
    total = parameters(model)
    moe_layers = model.moe_layers()
    experts = sum(expert_parameters(moe) for moe in moe_layers)
    idle = sum(idle_parameters(moe, config.top_k) for moe in moe_layers)
    active = total - idle
    embedding = 0 if config.tied_embeddings else config.vocab_size * config.hidden_dim
    attention = 4 * config.context_length * config.num_heads * config.head_dim * config.num_layers
    return Count(
        parameters=total,
        active_parameters=active,
        expert_parameters=experts,
        active_expert_parameters=experts - idle,
        training_flops_per_token=3 * (2 * (active - embedding) + attention),
        sequence_length=config.context_length,
    )


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def expert_parameters(moe: MoE) -> int:
    return parameters(moe.experts) + (parameters(moe.shared_experts) if moe.shared_experts else 0)


def idle_parameters(moe: MoE, top_k: int) -> int:
    """Routed parameters that one token does not use, whose choices all run different weights."""
    stored = moe.experts.sizes[0]
    return parameters(moe.experts) * (stored - top_k) // stored
