"""What capture, interventions and losses need of a model. Ours is model/deepseek_moe.py.

B = sequences, S = positions, T = B * S tokens (row-major), R = rows chosen among them, D = model
dim, V = vocabulary, E = routed experts, K = most experts per token, F = inner neurons of an expert,
P = parts of a neuron.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from data.routing import LayerDescription
from model.watching import Watcher


class GateRule(Protocol):
    """How a gate decides by its logits: who knows the gate says so, nobody guesses it."""

    def scores(self, router_logits_TE: Tensor, /) -> Tensor:
        """Of logits in float32: their softmax, their sigmoid, or the logits themselves where the
        gate gives scores already."""

    def preference(self, scores_TE: Tensor, /) -> Tensor:
        """By what experts are chosen, the largest first; -inf where a token may not go."""

    def explains(
        self, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor, /
    ) -> Tensor | None:
        """Whether the weights of each token [T] come from its scores by this rule; None: the rule
        is the gate's own, or says nothing of weights."""

    @property
    def weigh(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Mixing weights of (scores_TK, expert_ids_TK) of chosen experts; None: to be read from
        what the gate gives."""

    def kept(self, scores_TK: Tensor, /, *, min_k: int, max_k: int) -> Tensor:
        """Of experts in their order of preference: which a token takes. All of them, unless their
        number varies."""


@runtime_checkable
class StackableRule(GateRule, Protocol):
    """A rule that can score several layers at once."""

    def alike(self, other: GateRule, /) -> bool:
        """Whether the two are one, but for vectors of each layer's own."""

    def stacked(self, rules: Sequence[GateRule], /) -> GateRule:
        """Of logits [L, T, E]: for each layer one of these, which are alike."""


class MoELayer(Protocol):
    """Hooks attach to `gate` and `experts`: what passes between them is what is executed."""

    def watch(self, watcher: Watcher, /) -> list[RemovableHandle]:
        """Tell the watcher of every forward, until the handles are removed."""

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
    def takes_choices(self) -> bool:
        """Whether other (weights_TK, expert_ids_TK) can be put in the place of what the gate
        gives."""

    @property
    def admission(self) -> nn.Module | None:
        """Gives kept_TK, which choices find room at their expert; the others are not executed and
        weigh 0. None: all do."""

    @property
    def rule(self) -> GateRule | None:
        """None: the gate has no logits."""

    def neurons(self) -> np.ndarray:
        """Weights of the routed experts [E, F, P, D]: gate row, up row, down column. Where the last
        two cannot be negated together without a change all are one part (P = 1). Experts without
        weights are left out; they come last."""


class HasMoELayers(Protocol):
    def moe_layers(self) -> Sequence[MoELayer]:
        """First to last, as one forward runs them; empty in a dense model."""


Encode = Callable[[list[str]], list[tuple[list[int], list[str]]]]  # see ReadableModel.encode
Decode = Callable[[list[int]], str]


class ReadText(NamedTuple):
    """A text as a model is given it."""

    text: str  # what the pieces join to: the text itself, or a chat template filled with it
    token_ids: list[int]
    pieces: list[str]  # what each token adds to the text
    special: list[str | None]  # names of special tokens, such as <s>


class Sampled(Protocol):
    """Is told of a generation."""

    def __call__(self, logits_BSV: Tensor, token_id: int, /) -> None:
        """The logits of the tokens that the model was just given, and the token sampled next."""


class GenerationSettings(NamedTuple):
    max_new_tokens: int
    seed: int
    temperature: float | None = None  # None: the model's own; 0: always the likeliest token
    top_p: float | None = None  # None: the model's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What a trace says of the model that made it."""

    source: str  # routescope, transformers
    family: str
    parameters: int
    tokenizer: str
    layers: tuple[LayerDescription, ...]  # of moe_layers(); none in a dense model
    dtype: str
    config: Mapping[str, object]  # becomes JSON


class ReadableModel(HasMoELayers, Protocol):
    """A language model with its tokenizer."""

    @property
    def context_length(self) -> int:
        """In tokens, the start token included."""

    @property
    def batch_tokens(self) -> int:
        """Of one forward, padding included; a longer text goes in parts. 0: each text is read
        whole and alone, because what else is in a forward would change it."""

    @property
    def start_token_id(self) -> int:
        """Precedes a text whose likelihood is asked."""

    @property
    def end_token_ids(self) -> frozenset[int]:
        """Of which each ends a text."""

    @property
    def unrecorded(self) -> list[int]:
        """Token ids that precede every text read and are no part of it."""

    @property
    def scored_from(self) -> int | None:
        """Position of the first token of a text whose loss is known. None: no loss is, because the
        model sees every token that it is asked about."""

    @property
    def device(self) -> torch.device: ...

    def encode(self, texts: list[str], /) -> list[tuple[list[int], list[str]]]:
        """The token ids of each text, and the text that each token adds; without any special
        token."""

    def read(self, texts: list[str], /) -> list[ReadText]:
        """What the model is given for each text, after `unrecorded`."""

    def decode(self, token_ids: list[int], /) -> str: ...

    def special_name(self, token_id: int, /) -> str | None:
        """Of a special token, such as </s>; None for the others."""

    def logits(self, token_ids_BS: Tensor, /) -> Tensor:
        """Of the next token at every position [B, S, V]."""

    def logits_at(self, token_ids_BS: Tensor, rows_R: Tensor, /) -> Iterator[Tensor]:
        """The same at some of the B * S rows alone, in consecutive parts [r, V] of the R."""

    def route(self, token_ids_BS: Tensor, /) -> None:
        """Run every MoE layer for what its hooks see; the head may be left out."""

    def reading(self) -> Callable[[Tensor], Tensor]:
        """A function from the next token ids [B, S] of B sequences, which follow all that it was
        given before, to their logits [B, S, V]."""

    def generate(
        self, token_ids: list[int], settings: GenerationSettings, sampled: Sampled, /
    ) -> None:
        """Continue the token ids, and tell of every step: first of all that were given, then of
        each token sampled but the last."""

    def description(self) -> ModelDescription: ...
