"""Models small enough for a test."""

from dataclasses import replace

import torch

from model.config import ModelConfig
from model.transformer import Transformer


def small_config() -> ModelConfig:
    """Three blocks, two of them with eight experts of which a token takes two."""
    return ModelConfig(
        vocab_size=32,
        context_length=16,
        num_layers=3,
        hidden_dim=16,
        num_heads=2,
        head_dim=8,
        dense_ffn_dim=24,
        first_dense_layers=1,
        num_experts=8,
        top_k=2,
        num_shared_experts=1,
        expert_dim=8,
        expert_loss_weight=0.01,
        init_std=0.1,
        tied_embeddings=True,
    )


def bigram_model(probability_VV: torch.Tensor, *, context_length: int) -> Transformer:
    """Rows sum to 1: the probability of every next token depends on the last token alone."""
    size = len(probability_VV)
    width = size + -size % 4  # what the experts' kernel can multiply
    config = replace(
        small_config(),
        vocab_size=size,
        hidden_dim=width,
        context_length=context_length,
        tied_embeddings=False,
    )
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.norm.weight_D.fill_(1)
        model.embedding.weight.copy_(torch.eye(size, width))  # normed to sqrt(width) where it is 1
        model.head.weight[:, :size] = probability_VV.T.log() / width**0.5
    return model
