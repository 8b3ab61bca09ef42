"""Every tensor of a checkpoint of ours under the names of a class of transformers, and back.

Exact: tensors are cut, turned and put together. The one number that changes is the last matrix of
shared experts where their output is times a half: it is doubled.

E = routed experts, D = model dim, F = expert width.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from model.checkpoint import stored_shapes
from model.config import ModelConfig
from model.exchange.families import Family
from model.moe import standing


class Move(NamedTuple):
    """One tensor of ours and the one or several that hold the same in theirs."""

    ours: str
    theirs: list[str]
    split: Callable[[Tensor], list[Tensor]]
    join: Callable[[list[Tensor]], Tensor]


def to_theirs(tensors: dict[str, Tensor], config: ModelConfig, family: Family) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for move in moves(config, family):
        parts = move.split(tensors[move.ours])
        result |= {
            name: part.clone(memory_format=torch.contiguous_format)
            for name, part in zip(move.theirs, parts, strict=True)
        }
    like = tensors["embedding.weight"]
    return result | {name: like.new_zeros(shape) for name, shape in zeros(config, family).items()}


def to_ours(tensors: dict[str, Tensor], config: ModelConfig, family: Family) -> dict[str, Tensor]:
    """ValueError: a weight that must be 0 is not."""
    for name in zeros(config, family):
        if tensors[name].any():
            raise ValueError(f"{name} is not 0 everywhere, and ours has nothing like it")
    joined = {
        move.ours: move.join([tensors[name] for name in move.theirs])
        for move in moves(config, family)
    }
    return {name: joined[name] for name in stored_shapes(config)}


def with_own_weights(tensors: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """A copy of its leader's for every expert that another one leads."""
    result = dict(tensors)
    for layer in range(config.first_dense_layers, config.num_layers):
        if leaders := config.leaders(layer):
            place = {leader: place for place, leader in enumerate(standing(leaders))}
            place_E = torch.tensor([place[leader] for leader in leaders])
            for name in ("gate_up_EDF", "down_EFD"):
                full = f"layers.{layer}.ffn.experts.{name}"
                result[full] = tensors[full][place_E]
    return result


def moves(config: ModelConfig, family: Family) -> Iterator[Move]:
    yield renamed("embedding.weight", "model.embed_tokens.weight")
    yield renamed("norm.weight_D", "model.norm.weight")
    if not config.tied_embeddings:
        yield renamed("head.weight", "lm_head.weight")
    for layer in range(config.num_layers):
        ours, theirs = f"layers.{layer}", f"model.layers.{layer}"
        yield renamed(f"{ours}.attention_norm.weight_D", f"{theirs}.input_layernorm.weight")
        yield renamed(f"{ours}.ffn_norm.weight_D", f"{theirs}.post_attention_layernorm.weight")
        yield stacked(
            f"{ours}.attention.query_key_value.weight",
            [f"{theirs}.self_attn.{part}_proj.weight" for part in "qkv"],
        )
        yield renamed(f"{ours}.attention.output.weight", f"{theirs}.self_attn.o_proj.weight")
        if config.num_experts == 0 or layer < config.first_dense_layers:
            yield from swiglu(f"{ours}.ffn", f"{theirs}.mlp")
        else:
            yield from moe(f"{ours}.ffn", f"{theirs}.{family.block}", config, family)


def moe(ours: str, theirs: str, config: ModelConfig, family: Family) -> Iterator[Move]:
    yield renamed(f"{ours}.gate.weight_ED", f"{theirs}.gate.weight")
    if config.balancing == "bias":
        yield renamed(f"{ours}.gate.bias_E", f"{theirs}.gate.e_score_correction_bias")
    gate, up, down = family.projections
    experts = [f"{theirs}.experts.{expert}" for expert in range(config.num_experts)]
    yield Move(
        f"{ours}.experts.gate_up_EDF",
        [f"{expert}.{part}.weight" for expert in experts for part in (gate, up)],
        lambda gate_up_EDF: [part for one in gate_up_EDF.mT for part in one.chunk(2)],
        lambda parts: torch.cat(parts).unflatten(0, (len(experts), -1)).mT,
    )
    yield Move(
        f"{ours}.experts.down_EFD",
        [f"{expert}.{down}.weight" for expert in experts],
        lambda down_EFD: list(down_EFD.mT),
        lambda parts: torch.stack(parts).mT,
    )
    if config.num_shared_experts:
        shared = f"{theirs}.{family.shared}"
        yield from swiglu(f"{ours}.shared_experts", shared, halved=family.halves_shared)


def swiglu(ours: str, theirs: str, *, halved: bool = False) -> Iterator[Move]:
    names = [f"{theirs}.gate_proj.weight", f"{theirs}.up_proj.weight"]
    yield stacked(f"{ours}.gate_up.weight", names)
    down = f"{ours}.down.weight", f"{theirs}.down_proj.weight"
    yield doubled(*down) if halved else renamed(*down)


def renamed(ours: str, theirs: str) -> Move:
    return Move(ours, [theirs], lambda x: [x], lambda parts: parts[0])


def doubled(ours: str, theirs: str) -> Move:
    """By a power of 2: no digit changes."""
    return Move(ours, [theirs], lambda x: [2 * x], lambda parts: parts[0] / 2)


def stacked(ours: str, theirs: list[str]) -> Move:
    """Parts of equal height, one above the other."""
    return Move(ours, theirs, lambda x: list(x.chunk(len(theirs))), torch.cat)


def zeros(config: ModelConfig, family: Family) -> dict[str, list[int]]:
    """What only theirs has, as long as it is 0 of no effect: name and shape."""
    shapes: dict[str, list[int]] = {}
    dim = config.hidden_dim
    for layer in range(config.first_dense_layers, config.num_layers if config.num_experts else 0):
        block = f"model.layers.{layer}.{family.block}"
        if family.biased and config.balancing != "bias":
            shapes[f"{block}.gate.e_score_correction_bias"] = [config.num_experts]
        if family.halves_shared:
            shapes[f"{block}.shared_expert_gate.weight"] = [1, dim]
        if family.shared and not config.num_shared_experts:  # of no width
            shapes[f"{block}.{family.shared}.gate_proj.weight"] = [0, dim]
            shapes[f"{block}.{family.shared}.up_proj.weight"] = [0, dim]
            shapes[f"{block}.{family.shared}.down_proj.weight"] = [dim, 0]
    return shapes
