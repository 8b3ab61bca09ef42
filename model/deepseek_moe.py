"""Our models as model/readable.py wants them: a transformer with its tokenizer.

B = sequences, S = positions, R = chosen rows among B * S, D = model dim, V = vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from data.routing import LayerDescription
from model.config import ModelConfig
from model.counting import parameters
from model.generate import generate
from model.moe import MoE
from model.readable import (
    Decode,
    Encode,
    GenerationSettings,
    ModelDescription,
    ReadText,
    Sampled,
)
from model.router import SoftmaxRouter
from model.transformer import Transformer

BATCH_TOKENS = {"cpu": 2_048, "cuda": 32_768}  # of one forward
ROWS = {"cpu": 64, "cuda": 4_096}  # of logits at once: on a CPU they stay in its cache


@dataclass(frozen=True, slots=True)
class DeepSeekMoE:
    """A ReadableModel; a dense one too."""

    transformer: Transformer
    encode: Encode
    decode: Decode
    tokenizer: str  # in words

    @property
    def start_token_id(self) -> int:
        return 0  # <|endoftext|>, as in training

    @property
    def end_token_ids(self) -> frozenset[int]:
        return frozenset([self.start_token_id])  # it precedes every text, so it ends the one before

    @property
    def unrecorded(self) -> list[int]:
        return [self.start_token_id]

    @property
    def scored_from(self) -> int:
        return 0

    @property
    def batch_tokens(self) -> int:
        return BATCH_TOKENS[self.device.type]

    @property
    def context_length(self) -> int:
        return self.transformer.config.context_length

    @property
    def device(self) -> torch.device:
        return self.transformer.head.weight.device

    def moe_layers(self) -> list[MoE]:
        return self.transformer.moe_layers()

    def read(self, texts: list[str]) -> list[ReadText]:
        return [
            ReadText(text, token_ids, pieces, [None] * len(token_ids))
            for text, (token_ids, pieces) in zip(texts, self.encode(texts), strict=True)
        ]

    def special_name(self, token_id: int) -> str | None:
        return self.decode([token_id]) if token_id == self.start_token_id else None

    def logits(self, token_ids_BS: Tensor) -> Tensor:
        return self.transformer(token_ids_BS)

    def logits_at(self, token_ids_BS: Tensor, rows_R: Tensor) -> Iterator[Tensor]:
        hidden_RD = self.transformer.hidden(token_ids_BS)[0].flatten(0, 1)[rows_R]
        return map(self.transformer.head, hidden_RD.split(ROWS[hidden_RD.device.type]))

    def route(self, token_ids_BS: Tensor) -> None:
        self.transformer.hidden(token_ids_BS)

    def reading(self) -> Callable[[Tensor], Tensor]:
        return partial(self.transformer, cache=self.transformer.new_cache())

    def generate(
        self, token_ids: list[int], settings: GenerationSettings, sampled: Sampled
    ) -> None:
        for step in generate(
            self,
            token_ids,
            max_new_tokens=settings.max_new_tokens,
            temperature=1.0 if settings.temperature is None else settings.temperature,
            top_p=1.0 if settings.top_p is None else settings.top_p,
            seed=settings.seed,
        ):
            sampled(*step)

    def description(self) -> ModelDescription:
        config = self.transformer.config
        names = {module: name for name, module in self.transformer.named_modules()}
        layers = self.moe_layers()
        return ModelDescription(
            source="routescope",
            family=layers[0].gate.family if layers else "dense",
            parameters=parameters(self.transformer),
            tokenizer=self.tokenizer,
            layers=tuple(layer_description(layer, names[layer], config) for layer in layers),
            dtype=str(self.transformer.head.weight.dtype).removeprefix("torch."),
            config=asdict(config),
        )


def layer_description(layer: MoE, name: str, config: ModelConfig) -> LayerDescription:
    gate = layer.gate
    renormalizes = isinstance(gate, SoftmaxRouter) and gate.renormalizes
    selection = "token id"
    if isinstance(gate, SoftmaxRouter):
        selection = "scores plus bias" if gate.biased else "scores"
        if gate.groups_per_token is not None:
            selection += f" in {gate.groups_per_token} of {gate.groups} groups"
    return LayerDescription(
        name=name,
        num_experts=config.num_experts,
        num_shared_experts=config.num_shared_experts,
        top_k=None if config.varying_k else config.top_k,
        scoring=gate.scoring,
        weighting="scores that sum to 1" if renormalizes else "scores",
        selection=selection,
    )
