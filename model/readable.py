"""What capture, interventions and losses need of a model. Ours is model/deepseek_moe.py.

B = sequences, S = positions, T = B * S tokens (row-major), R = rows chosen among them, D = model
dim, V = vocabulary, E = routed experts, K = most experts per token, F = inner neurons of an expert,
P = parts of a neuron.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class GateRule(Protocol):
    """How a gate decides by its logits: who knows the gate says so, nobody guesses it."""

    def scores(self, router_logits_TE: Tensor, /) -> Tensor:
        """Of logits in float32: their softmax, their sigmoid, or the logits themselves where the
        gate gives scores already."""

    def preference(self, scores_TE: Tensor, /) -> Tensor:
        """By what experts are chosen, the largest first; -inf where a token may not go."""

    def kept(self, scores_TK: Tensor, /, *, min_k: int, max_k: int) -> Tensor:
        """Of experts in their order of preference: which a token takes. All of them, unless their
        number varies."""


class MoELayer(Protocol):
    """Hooks attach to `gate` and `experts`: what passes between them is what is executed."""

    @property
    def gate(self) -> nn.Module:
        """Gives (router_logits_TE or None, weights_TK, expert_ids_TK)."""

    @property
    def experts(self) -> nn.Module:
        """Takes (x_TD, expert_ids_TK, weights_TK); NO_EXPERT is a place left empty, weight 0."""

    @property
    def shared_experts(self) -> nn.Module | None: ...

    @property
    def num_experts(self) -> int: ...

    @property
    def k_range(self) -> tuple[int, int]:
        """(fewest, most) experts that a token takes."""

    @property
    def admission(self) -> nn.Module | None:
        """Gives kept_TK, which choices find room at their expert; the others are not executed and
        weigh 0. None: all do."""

    @property
    def rule(self) -> GateRule | None:
        """None: the gate has no logits."""

    def neurons(self) -> np.ndarray:
        """Weights of the routed experts [E, F, P, D]: gate row, up row, down column."""


class HasMoELayers(Protocol):
    def moe_layers(self) -> Sequence[MoELayer]:
        """First to last, as one forward runs them; empty in a dense model."""


Encode = Callable[[list[str]], list[tuple[list[int], list[str]]]]  # see ReadableModel.encode
Decode = Callable[[list[int]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What a trace says of the model that made it."""

    source: str  # routescope, transformers
    family: str
    parameters: int
    tokenizer: str
    num_experts: int  # routed, of a layer
    num_shared_experts: int
    scoring: str  # softmax, sigmoid, hash
    top_k: int | None  # None where it varies from token to token
    dtype: str
    config: Mapping[str, object]  # becomes JSON


class ReadableModel(HasMoELayers, Protocol):
    """A causal language model with its tokenizer."""

    @property
    def context_length(self) -> int:
        """In tokens, the start token included."""

    @property
    def start_token_id(self) -> int:
        """Precedes every text and is not part of it."""

    @property
    def device(self) -> torch.device: ...

    def encode(self, texts: list[str], /) -> list[tuple[list[int], list[str]]]:
        """The token ids of each text, and the text that each token adds; without a start token."""

    def decode(self, token_ids: list[int], /) -> str: ...

    def logits(self, token_ids_BS: Tensor, /) -> Tensor:
        """Of the next token at every position [B, S, V]."""

    def logits_at(self, token_ids_BS: Tensor, rows_R: Tensor, /) -> Iterator[Tensor]:
        """The same at some of the B * S rows alone, in consecutive parts [r, V] of the R."""

    def route(self, token_ids_BS: Tensor, /) -> None:
        """Run every MoE layer for what its hooks see; the head may be left out."""

    def reading(self) -> Callable[[Tensor], Tensor]:
        """A function from the next token ids [B, S] of B sequences, which follow all that it was
        given before, to their logits [B, S, V]."""

    def description(self) -> ModelDescription: ...
