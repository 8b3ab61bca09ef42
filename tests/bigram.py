"""A model whose every probability is known."""

from dataclasses import replace

import torch

from model.transformer import Transformer
from tests.models import small_config


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
