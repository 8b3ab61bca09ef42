"""What a MoE layer gave, computed once more from the routing that was recorded of it.

Each expert runs alone on what the layer was given; its outputs are summed with the recorded
weights by NumPy. Nothing of the model's own dispatch is used again.

T = tokens, D = model dim, K = chosen, E = experts.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.routing import NO_EXPERT
from model.decisions import Decisions
from model.huggingface.layers import HuggingFaceLayer


@dataclass
class Layers:
    """A HasMoELayers."""

    layers: list[HuggingFaceLayer]

    def moe_layers(self) -> list[HuggingFaceLayer]:
        return self.layers


@dataclass
class Passed:
    """What went into the experts of a layer and came out, forward by forward."""

    given: list[Tensor] = field(default_factory=list)
    came: list[Tensor] = field(default_factory=list)


OneExpert = Callable[[HuggingFaceLayer, int, Tensor, Tensor], Tensor]
# (layer, expert, its rows x_RD, their weights_R) -> what it adds to each row, weighted


def of_contract(layer: HuggingFaceLayer, expert: int, x_RD: Tensor, weights_R: Tensor) -> Tensor:
    ids_R2 = torch.full((len(x_RD), 2), expert)
    weights_R2 = torch.tensor([[1.0, 0.0]]).repeat(len(x_RD), 1)
    output_RD = layer.experts.forward(x_RD, ids_R2, weights_R2)  # which calls no hook
    return output_RD.reshape(x_RD.shape) * weights_R[:, None]


def of_llama4(layer: HuggingFaceLayer, expert: int, x_RD: Tensor, weights_R: Tensor) -> Tensor:
    num_experts = layer.num_experts
    rows_ERD = torch.zeros(num_experts, *x_RD.shape)
    rows_ERD[expert] = x_RD * weights_R[:, None]
    return layer.experts(rows_ERD.flatten(0, 1)).unflatten(0, (num_experts, -1))[expert]


def of_dictionary(layer: HuggingFaceLayer, expert: int, x_RD: Tensor, weights_R: Tensor) -> Tensor:
    kept = 1 - getattr(layer.experts, "moe_token_dropout", 0.0)
    return kept * layer.experts[f"expert_{expert}"](x_RD) * weights_R[:, None]  # type: ignore[index]


def of_jetmoe(layer: HuggingFaceLayer, expert: int, x_RD: Tensor, weights_R: Tensor) -> Tensor:
    block: Any = layer.block
    sizes = [len(x_RD) if one == expert else 0 for one in range(layer.num_experts)]
    if not hasattr(block, "reduce"):
        gate, up = block.input_linear(x_RD, sizes).chunk(2, dim=-1)
        x_RD = block.activation(gate) * up
    return block.output_linear(x_RD, sizes) * weights_R[:, None]


def of_doge(layer: HuggingFaceLayer, expert: int, x_RD: Tensor, weights_R: Tensor) -> Tensor:
    block: Any = layer.block
    down_D, up_D = block.down_embed.weight[expert], block.up_embed.weight[expert]
    return (block.act_fn(x_RD @ down_D) * weights_R)[:, None] * up_D


def of_skipping(layer: HuggingFaceLayer, expert: int, x_RD: Tensor, weights_R: Tensor) -> Tensor:
    if expert == layer.num_experts - 1:  # to skip
        assert not weights_R.any()
        return torch.zeros_like(x_RD)
    return of_contract(layer, expert, x_RD, weights_R)


ONE_EXPERT: dict[str, OneExpert] = {
    "DogeCDMoE": of_doge,
    "JetMoeTopKGating": of_jetmoe,
    "Llama4Router": of_llama4,
    "NllbMoeTop2Router": of_dictionary,
    "SwitchTransformersTop1Router": of_dictionary,
    "ZayaRouter": of_skipping,
}


@contextmanager
def passing(layers: list[HuggingFaceLayer]) -> Iterator[list[Passed]]:
    """Watches the experts themselves, by other means than what is tested."""
    passed = [Passed() for _ in layers]
    undo = [watch(layer, one) for layer, one in zip(layers, passed, strict=True)]
    try:
        yield passed
    finally:
        for end in undo:
            end()


def watch(layer: HuggingFaceLayer, passed: Passed) -> Callable[[], None]:
    kind, block = type(layer.gate).__name__, layer.block
    if kind == "JetMoeTopKGating" and hasattr(block, "reduce"):
        return watch_attention(block, passed)
    module = block if kind in ("JetMoeTopKGating", "DogeCDMoE", "Llama4Router") else layer.experts
    turns = itertools.cycle(range(layer.turns))

    def after(module: nn.Module, arguments: tuple[Any, ...], named: Any, output: Any) -> None:
        if next(turns) != layer.turn:
            return
        x = arguments[0] if arguments else named["hidden_states"]
        output = output[0] if isinstance(output, tuple) else output
        x_TD = x.reshape(-1, x.shape[-1]).clone()
        passed.given.append(x_TD)
        passed.came.append(routed_part(block, kind, x_TD, output.reshape(-1, output.shape[-1])))

    return module.register_forward_hook(after, with_kwargs=True).remove


def routed_part(block: Any, kind: str, x_TD: Tensor, output_TD: Tensor) -> Tensor:
    """Of what a whole block gives."""
    if kind == "Llama4Router":
        return output_TD - block.shared_expert(x_TD)
    if kind == "JetMoeTopKGating":
        return output_TD - block.bias
    if kind == "DogeCDMoE":
        return output_TD - block.down_proj(
            block.act_fn(block.gate_proj(x_TD)) * block.up_proj(x_TD)
        )
    return output_TD.clone()


def watch_attention(block: Any, passed: Passed) -> Callable[[], None]:
    """Of attention whose experts project queries and outputs: the second half, by choice."""
    reduce = block.reduce

    def reduced(x_BSKD: Tensor, topology: Any) -> Tensor:
        output_BSD = reduce(x_BSKD, topology)
        passed.given.append(x_BSKD.flatten(0, 1).clone())
        passed.came.append((output_BSD - block.bias).flatten(0, 1))
        return output_BSD

    block.reduce = reduced
    return lambda: delattr(block, "reduce")


@torch.no_grad()
def worst_error(
    layers: list[HuggingFaceLayer], decisions: Decisions, passed: list[Passed], rows_T: np.ndarray
) -> float:
    """Largest difference over all layers, relative to the largest output of its layer."""
    worst = 0.0
    for layer_id, (layer, one) in enumerate(zip(layers, passed, strict=True)):
        given, came = (torch.cat(x)[torch.from_numpy(rows_T)] for x in (one.given, one.came))
        replayed_TD = replay(
            layer,
            decisions.expert_ids_TLK[:, layer_id],
            decisions.weights_TLK[:, layer_id],
            given,
        )
        assert came.abs().max() > 0, layer.name
        worst = max(worst, float(np.abs(replayed_TD - came.numpy()).max() / came.abs().max()))
    return worst


def replay(
    layer: HuggingFaceLayer, ids_TK: np.ndarray, weights_TK: np.ndarray, x: Tensor
) -> np.ndarray:
    """`x`: [T, D], or [T, K, D] where each choice has its own."""
    one_expert = ONE_EXPERT.get(type(layer.gate).__name__, of_contract)
    total_TD = np.zeros((len(x), 0))
    for expert in range(layer.num_experts):
        for rank in range(ids_TK.shape[1]):
            rows_R = np.flatnonzero(ids_TK[:, rank] == expert)
            if not len(rows_R):
                continue
            picked = x[torch.from_numpy(rows_R)]
            weights_R = torch.from_numpy(weights_TK[rows_R, rank])
            added_RD = one_expert(
                layer, expert, picked if x.dim() == 2 else picked[:, rank], weights_R
            ).numpy()
            if not total_TD.size:
                total_TD = np.zeros((len(x), added_RD.shape[1]))
            total_TD[rows_R] += added_RD
    assert (ids_TK != NO_EXPERT).any()
    return total_TD
