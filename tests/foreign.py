"""A language model of another make: other names, no config, a gate whose logits are no logits.

B = sequences, S = positions, T = B * S tokens, D = model dim, V = vocabulary, E = experts, K = 2.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from data.routing import LayerDescription
from model.generate import generate
from model.readable import GenerationSettings, ModelDescription, ReadText, Sampled
from model.watching import Watcher, watch_contract

START = 26  # after the letters
DIM, WIDTH, EXPERTS = 6, 5, 4


class Chooser(nn.Module):
    """Gives probabilities where others give logits, and chooses by them plus a bias."""

    offset_E: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.wg = nn.Linear(DIM, EXPERTS)
        self.register_buffer("offset_E", torch.tensor([0.0, 0.1, 0.0, 0.2]))

    def forward(self, tokens_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        positive_TE = F.softplus(self.wg(tokens_TD)).sqrt()
        probability_TE = positive_TE / positive_TE.sum(-1, keepdim=True)
        ids_TK = (probability_TE + self.offset_E).topk(2).indices
        return probability_TE, probability_TE.gather(-1, ids_TK), ids_TK


class AsGiven:
    """The rule of a Chooser."""

    def __init__(self, chooser: Chooser) -> None:
        self.chooser = chooser

    def scores(self, probability_TE: Tensor) -> Tensor:
        return probability_TE

    def preference(self, scores_TE: Tensor) -> Tensor:
        return scores_TE + self.chooser.offset_E

    def explains(self, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        given_TK = scores_TE.gather(-1, expert_ids_TK)
        return torch.isclose(given_TK, weights_TK).all(-1)

    weigh = None

    def kept(self, scores_TK: Tensor, *, min_k: int, max_k: int) -> Tensor:
        return torch.ones_like(scores_TK, dtype=torch.bool)


class Bank(nn.Module):
    """All experts on all tokens, then the two that were chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(EXPERTS, DIM, WIDTH))
        self.w2 = nn.Parameter(torch.randn(EXPERTS, WIDTH, DIM))

    def forward(self, tokens_TD: Tensor, top_index: Tensor, top_weight: Tensor) -> Tensor:
        all_TED = torch.einsum("td,edf,efo->teo", tokens_TD, self.w1, self.w2)
        mixed_TE = torch.zeros(len(tokens_TD), EXPERTS).scatter(-1, top_index, top_weight)
        return torch.einsum("te,teo->to", mixed_TE, all_TED)


class SparseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.chooser, self.bank = Chooser(), Bank()

    def forward(self, tokens_TD: Tensor) -> Tensor:
        _, weights_TK, ids_TK = self.chooser(tokens_TD)
        return self.bank(tokens_TD, top_index=ids_TK, top_weight=weights_TK)


class Sums(nn.Module):
    """Knows of a text the mean of the vectors of its tokens so far."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(START + 1, DIM)
        self.blocks = nn.ModuleList(SparseBlock() for _ in range(2))

    def sparse_blocks(self) -> list[SparseBlock]:
        return [block for block in self.blocks if isinstance(block, SparseBlock)]

    def forward(self, input_ids: Tensor, past: "Past") -> Tensor:
        x_BSD = past.means(self.wte(input_ids))
        for block in self.sparse_blocks():
            x_BSD = x_BSD + block(x_BSD.flatten(0, 1)).view_as(x_BSD)
        return x_BSD @ self.wte.weight.T


@dataclass
class Past:
    length: int = 0
    sum_B1D: Tensor = field(default_factory=lambda: torch.zeros(1, 1, DIM))

    def means(self, vectors_BSD: Tensor) -> Tensor:
        sum_BSD = vectors_BSD.cumsum(1) + self.sum_B1D
        length_S = self.length + torch.arange(1, vectors_BSD.shape[1] + 1)
        self.length, self.sum_B1D = int(length_S[-1]), sum_BSD[:, -1:]
        return sum_BSD / length_S[:, None]


@dataclass(frozen=True)
class ForeignLayer:
    gate: Chooser
    experts: Bank
    rule: AsGiven
    shared_experts: None = None
    num_experts: int = EXPERTS
    k_range: tuple[int, int] = (2, 2)
    admission: None = None
    takes_choices: bool = True

    def watch(self, watcher: Watcher) -> list[RemovableHandle]:
        return watch_contract(self, watcher)

    def neurons(self) -> np.ndarray:
        rows_EFD = self.experts.w1.detach().transpose(1, 2)
        return torch.stack([rows_EFD, rows_EFD, self.experts.w2.detach()], 2).numpy()


class ForeignModel:
    """A ReadableModel, with a letter a token."""

    context_length = 12
    start_token_id = START
    batch_tokens = 2_048
    scored_from = 0
    end_token_ids = frozenset([START])
    unrecorded: ClassVar = [START]
    device = torch.device("cpu")

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.sums = Sums().eval()

    def moe_layers(self) -> list[ForeignLayer]:
        return [
            ForeignLayer(block.chooser, block.bank, AsGiven(block.chooser))
            for block in self.sums.sparse_blocks()
        ]

    def encode(self, texts: list[str]) -> list[tuple[list[int], list[str]]]:
        return [([ord(letter) - 97 for letter in text], list(text)) for text in texts]

    def read(self, texts: list[str]) -> list[ReadText]:
        return [ReadText(text, *self.encode([text])[0], [None] * len(text)) for text in texts]

    def special_name(self, token_id: int) -> str | None:
        return "start" if token_id == START else None

    def decode(self, token_ids: list[int]) -> str:
        return "".join(chr(97 + token_id) for token_id in token_ids)

    def logits(self, token_ids_BS: Tensor) -> Tensor:
        return self.sums(token_ids_BS, Past())

    def logits_at(self, token_ids_BS: Tensor, rows_R: Tensor) -> Iterator[Tensor]:
        yield from self.logits(token_ids_BS).flatten(0, 1)[rows_R].split(3)

    def route(self, token_ids_BS: Tensor) -> None:
        self.logits(token_ids_BS)

    def reading(self) -> Callable[[Tensor], Tensor]:
        return partial(self.sums, past=Past())

    def generate(
        self, token_ids: list[int], settings: GenerationSettings, sampled: Sampled
    ) -> None:
        steps = generate(
            self,
            token_ids,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature or 0,
            top_p=1.0,
            seed=settings.seed,
        )
        for step in steps:
            sampled(*step)

    def description(self) -> ModelDescription:
        return ModelDescription(
            source="elsewhere",
            family="Sums",
            parameters=sum(weight.numel() for weight in self.sums.parameters()),
            tokenizer="letters",
            layers=tuple(
                LayerDescription(
                    name=f"blocks.{number}",
                    num_experts=EXPERTS,
                    num_shared_experts=0,
                    top_k=2,
                    scoring="sqrtsoftplus",
                    weighting="scores",
                    selection="scores",
                )
                for number in range(2)
            ),
            dtype="float32",
            config={"blocks": 2},
        )
