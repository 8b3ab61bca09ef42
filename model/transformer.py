"""The whole DeepSeekMoE language model (arXiv 2401.06066).

B = sequences, S = positions, T = B * S tokens, D = model dim, V = vocabulary, E = routed experts,
K = experts per token, L = MoE layers.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers import Attention, KeyValueCache, RMSNorm, SwiGLU, rotary_tables
from model.moe import MoE, new_moe


class Routed(NamedTuple):
    """What one MoE layer decided, for the balance losses."""

    router_logits_TE: Tensor | None  # None: a gate that learns nothing
    expert_ids_TK: Tensor


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_dim, eps=config.norm_eps)
        self.attention = Attention(
            config.hidden_dim, num_heads=config.num_heads, head_dim=config.head_dim
        )
        self.ffn_norm = RMSNorm(config.hidden_dim, eps=config.norm_eps)
        dense = config.num_experts == 0 or layer < config.first_dense_layers
        self.ffn = (
            SwiGLU(config.hidden_dim, config.dense_ffn_dim)
            if dense
            else new_moe(config, leaders=config.leaders(layer))
        )

    def forward(
        self,
        x_BSD: Tensor,
        token_ids_BS: Tensor,
        cos_SC: Tensor,
        sin_SC: Tensor,
        cache: KeyValueCache | None,
    ) -> tuple[Tensor, Routed | None]:
        x_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), cos_SC, sin_SC, cache)
        normed_BSD = self.ffn_norm(x_BSD)
        if isinstance(self.ffn, MoE):
            output_BSD, *decided = self.ffn(normed_BSD, token_ids_BS, cache)
            return x_BSD + output_BSD, Routed(*decided)
        return x_BSD + self.ffn(normed_BSD), None


class Transformer(nn.Module):
    cos_SC: Tensor
    sin_SC: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_dim)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_dim, eps=config.norm_eps)
        self.head = nn.Linear(config.hidden_dim, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.head.weight = self.embedding.weight
        cos_SC, sin_SC = rotary_tables(
            config.context_length, config.head_dim, base=config.rope_base
        )
        self.register_buffer("cos_SC", cos_SC, persistent=False)
        self.register_buffer("sin_SC", sin_SC, persistent=False)

    def initialize(self, *, seed: int) -> None:
        """Normal weights of `init_std`, as in the paper; norms stay 1."""
        generator = torch.Generator(self.embedding.weight.device).manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=self.config.init_std, generator=generator)

    def moe_layers(self) -> list[MoE]:
        return [block.ffn for block in self.layers if isinstance(block.ffn, MoE)]

    def new_cache(self) -> list[KeyValueCache]:
        return [KeyValueCache() for _ in self.layers]

    def hidden(
        self,
        token_ids_BS: Tensor,
        cache: list[KeyValueCache] | None = None,
        *,
        perturbation_BSD: Tensor | None = None,
    ) -> tuple[Tensor, list[Routed]]:
        """The normed state before the head, and each MoE layer's decision.

        `perturbation_BSD` is added to the embeddings.
        """
        start = cache[0].length if cache else 0
        end = start + token_ids_BS.shape[1]
        if end > self.config.context_length:
            raise ValueError(
                f"{end} tokens do not fit the context of {self.config.context_length}; shorten them"
            )
        cos_SC, sin_SC = self.cos_SC[start:end], self.sin_SC[start:end]
        x_BSD = self.embedding(token_ids_BS)
        if perturbation_BSD is not None:
            x_BSD = x_BSD + perturbation_BSD
        routed: list[Routed] = []
        caches: list[KeyValueCache] | list[None] = cache or [None] * len(self.layers)
        for block, layer_cache in zip(self.layers, caches, strict=True):
            x_BSD, decided = block(x_BSD, token_ids_BS, cos_SC, sin_SC, layer_cache)
            if decided is not None:
                routed.append(decided)
        return self.norm(x_BSD), routed

    def forward(self, token_ids_BS: Tensor, *, cache: list[KeyValueCache] | None = None) -> Tensor:
        """Logits_BSV of the next token at every position."""
        return self.head(self.hidden(token_ids_BS, cache)[0])
