"""What the trainer asks of a language model. Ours: own_model.py. Of transformers:
transformers_model.py.

B = sequences, S = positions, T = B * S tokens, D = model dim, E = routed experts, L = MoE layers,
V = vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from model.training.stages import Stage
from model.transformer import Routed


class Balance(NamedTuple):
    loss: Tensor  # of all layers, weighted
    tokens_LE: Tensor  # choices of kept tokens; without dimensions in a dense model


class TrainableModel(Protocol):
    @property
    def module(self) -> nn.Module:
        """Holds all that is trained, and all that a checkpoint keeps."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def context_length(self) -> int:
        """Of its sequences, in tokens."""

    @property
    def num_experts(self) -> int:
        """Of every MoE layer; 0 in a dense model."""

    @property
    def num_moe_layers(self) -> int: ...

    @property
    def balanced_by_bias(self) -> bool:
        """Whether `rebalance` is called after each step."""

    def settings(self) -> dict[str, object]:
        """What a training must have in common with the one that it continues; becomes JSON."""

    def require_stages(self, stages: Sequence[Stage], /) -> None:
        """Refuses what the model cannot be trained in."""

    def initialize(self, *, seed: int) -> None: ...

    def activate(self, stage: Stage, /) -> None:
        """As few and as many experts a token as the stage says."""

    def predicted(
        self, token_ids_BS: Tensor, perturbation_BSD: Tensor | None = None, /
    ) -> tuple[Tensor, list[Routed]]:
        """Logits_BSV of the next token, and what each MoE layer decided; the perturbation is added
        to the embeddings."""

    def routed(self, token_ids_BS: Tensor, /) -> list[Routed]:
        """What each MoE layer decides."""

    def balance(self, routed: list[Routed], keep_T: Tensor, /) -> Balance:
        """Over the tokens of this process that are no padding."""

    def rebalance(self, tokens_LE: Tensor, /) -> None:
        """Moves the biases of the gates, by the choices of all processes."""

    def compile_blocks(self) -> None:
        """Where batches come in many shapes: all blocks of a kind share what is compiled."""

    @property
    def compiles_whole(self) -> bool:
        """Whether the whole forward pass compiles as one."""

    def save(self, whole: nn.Module, folder: Path, /, *, stage: Stage) -> None:
        """Weights and config as that stage, the last, leaves them. `whole` is `module`, or a copy
        where each process trains a part of it."""

    def reloaded(self, folder: Path, /) -> nn.Module:
        """What was saved, from token ids [B, S] to logits_BSV."""
