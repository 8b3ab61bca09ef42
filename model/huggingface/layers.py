"""The MoE layers of a model of transformers, and how each tells what it executes.

What routers return has changed from release to release; what experts are given has not. So a layer
is watched where its experts are called, and its gate only for the logits. `EXCEPTIONS` are the
routers of which that is not true.

T = tokens, D = model dim, E = experts of the gate, K = chosen, C = choices in the experts' order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model.huggingface.rules import Rule
from model.huggingface.weights import neurons
from model.watching import Watcher

GATES = ("gate", "router")
SHARED = ("shared_expert", "shared_experts", "shared_mlp")


@dataclass(eq=False, slots=True)
class HuggingFaceLayer:
    """A MoELayer. What only a forward shows is set by model/huggingface/trial.py."""

    name: str  # of the block, as the model calls it
    gate: nn.Module
    block: nn.Module  # that holds it
    experts: nn.Module  # the block where it has none of its own
    shared_experts: nn.Module | None
    num_shared_experts: int
    num_experts: int = 0
    k_range: tuple[int, int] = (0, 0)
    rule: Rule | None = None
    admission: nn.Module | None = None
    drops: bool = False  # choices, where an expert is full
    turn: int = 0  # where a forward runs the block several times: which of them this is,
    turns: int = 1  # of how many

    def watch(self, watcher: Watcher) -> list[RemovableHandle]:
        if self.turns > 1:
            watcher = OneTurn(watcher, self.turn, self.turns)
        return EXCEPTIONS.get(type(self.gate).__name__, watch_experts)(self, watcher)

    def neurons(self) -> np.ndarray:
        return neurons(self.experts, name=self.name)

    def in_turn(self, turn: int, turns: int) -> "HuggingFaceLayer":
        """This block where it runs for the `turn`-th time."""
        return replace(self, name=f"{self.name}, pass {turn + 1}", turn=turn, turns=turns)

    @property
    def takes_choices(self) -> bool:
        """Whether gate and experts keep the contract of model/watching.py, so that other choices
        can be put in the place of the gate's: not where a gate decides for several layers."""
        return self.turns == 1 and type(self.gate).__name__ not in EXCEPTIONS


class OneTurn:
    """Tells a watcher of every `turns`-th run of a block, beginning with the `turn`-th."""

    def __init__(self, watcher: Watcher, turn: int, turns: int) -> None:
        self.watcher, self.turn, self.turns = watcher, turn, turns
        self.count = -1

    @property
    def mine(self) -> bool:
        return self.count % self.turns == self.turn

    def decided(self, router_logits_TE: Tensor | None) -> None:
        self.count += 1
        if self.mine:
            self.watcher.decided(router_logits_TE)

    def admitted(self, kept_TK: Tensor) -> None:
        if self.mine:
            self.watcher.admitted(kept_TK)

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> None:
        if self.mine:
            self.watcher.executed(x_TD, expert_ids_TK, weights_TK)


def find_layers(model: nn.Module) -> list[HuggingFaceLayer]:
    """In the order of the model's modules; a block inside another found one counts alone."""
    found = dict(routers(model))
    outer = {one for one in found for other in found if other.startswith(f"{one}.")}
    modules = dict(model.named_modules())
    return [layer_of(name, modules) for name in found if name not in outer]


def routers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What the library records router logits of, and gates beside experts."""
    classes = recorded_classes(model)
    for name, module in model.named_modules():
        parent, _, own = name.rpartition(".")
        beside = own in GATES and hasattr(model.get_submodule(parent), "experts")
        if isinstance(module, classes) or beside:
            yield name, module


def recorded_classes(model: nn.Module) -> tuple[type[nn.Module], ...]:
    classes: list[type[nn.Module]] = []
    for module in model.modules():
        recorded = getattr(module, "_can_record_outputs", None) or {}
        entries = recorded.get("router_logits", [])
        for entry in entries if isinstance(entries, list) else [entries]:
            target = getattr(entry, "target_class", entry)
            if isinstance(target, type):
                classes.append(target)
    return tuple(set(classes))


def layer_of(name: str, modules: Mapping[str, nn.Module]) -> HuggingFaceLayer:
    gate, parent = modules[name], name.rpartition(".")[0]
    block = gate if type(gate).__name__ in WHOLE_BLOCKS else modules[parent]
    around = [block, modules[parent], modules[parent.rpartition(".")[0]]]
    shared = next((child for one in around for child in shared_of(one)), None)
    own = getattr(block, "experts", None)
    return HuggingFaceLayer(
        name=name if block is gate else parent,
        gate=gate,
        block=block,
        experts=own if isinstance(own, nn.Module) else block,
        shared_experts=shared,
        num_shared_experts=count_shared(block, shared),
    )


def shared_of(module: nn.Module) -> list[nn.Module]:
    return [child for name, child in module.named_children() if name in SHARED]


def count_shared(block: nn.Module, shared: nn.Module | None) -> int:
    """As the config has it; they run as one."""
    if shared is None:
        return 0
    config = getattr(block, "config", None) or getattr(shared, "config", None)
    for name in ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"):
        given = getattr(config, name, None)
        if isinstance(given, int) and given > 0:
            return given
    return 1


def watch_experts(layer: HuggingFaceLayer, watcher: Watcher) -> list[RemovableHandle]:
    """Ids are the integers [T, K] that the experts are given, weights the floats of that shape."""

    def decided(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        watcher.decided(logits_among(output))

    def executed(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = [one for one in [*arguments, *named.values()] if isinstance(one, Tensor)]
        ids = next((one for one in given if is_ids(one)), None)
        if ids is None:
            return
        weights = (x for x in given if x.is_floating_point() and x.shape == ids.shape)
        x_TD = given[0].reshape(-1, given[0].shape[-1])
        if (weights_TK := next(weights, None)) is not None:
            watcher.executed(x_TD, ids, weights_TK)

    return [
        layer.gate.register_forward_hook(decided),
        layer.experts.register_forward_pre_hook(executed, with_kwargs=True),
    ]


def is_ids(tensor: Tensor) -> bool:
    return tensor.dim() == 2 and tensor.dtype in (torch.int64, torch.int32, torch.int16)


def logits_among(output: Any) -> Tensor | None:
    """The first floats [T, E] of what a gate gives: all routers of the library give them first, or
    give nothing else."""
    given = output if isinstance(output, tuple) else (output,)
    first = next((x for x in given if isinstance(x, Tensor) and x.is_floating_point()), None)
    return None if first is None else first.reshape(-1, first.shape[-1])


def watch_gate(decode: Any) -> Any:
    """A watch of a gate that decides all: `decode` makes of (layer, its output) the tensors
    (router_logits_TE, expert_ids_TK, weights_TK, kept_TK or None)."""

    def watch(layer: HuggingFaceLayer, watcher: Watcher) -> list[RemovableHandle]:
        def decided(module: nn.Module, arguments: tuple[Tensor, ...], output: Any) -> None:
            logits_TE, ids_TK, weights_TK, kept_TK = decode(layer, output)
            watcher.decided(logits_TE)
            if kept_TK is not None:
                watcher.admitted(kept_TK)
            x = arguments[0]
            watcher.executed(x.reshape(-1, x.shape[-1]), ids_TK, weights_TK)

        return [layer.gate.register_forward_hook(decided)]

    return watch


Decoded = tuple[Tensor, Tensor, Tensor, Tensor | None]


def of_llama4(layer: HuggingFaceLayer, output: tuple[Tensor, Tensor]) -> Decoded:
    """(scores that are 0 but for the chosen, logits); every expert runs, on its input times the
    score."""
    scores_TE, logits_TE = output
    weights_TK, ids_TK = scores_TE.topk(int(layer.gate.top_k), dim=-1)  # type: ignore[arg-type]
    return logits_TE, ids_TK, weights_TK, None


def of_jetmoe(layer: HuggingFaceLayer, output: tuple[Any, ...]) -> Decoded:
    """(places of choices sorted by expert, their tokens, weights, choices per expert, logits)"""
    place_C, _, weight_C, sizes, logits_TE = output
    expert_C = torch.arange(len(sizes), device=place_C.device).repeat_interleave(
        torch.tensor(sizes, device=place_C.device)
    )
    ids_TK = torch.empty_like(place_C).scatter(0, place_C, expert_C).view(len(logits_TE), -1)
    weights_TK = torch.empty_like(weight_C).scatter(0, place_C, weight_C).view_as(ids_TK)
    return logits_TE, ids_TK, weights_TK, None


def of_switch(layer: HuggingFaceLayer, output: tuple[Tensor, Tensor, Tensor]) -> Decoded:
    """(one-hot masks, all 0 where the expert was full; probability of the choice; logits)"""
    mask, weight, logits = output
    logits_TE = logits.reshape(-1, logits.shape[-1])
    kept_TK = mask.reshape(logits_TE.shape).any(-1, keepdim=True)
    return logits_TE, logits_TE.argmax(-1, keepdim=True), weight.reshape(-1, 1), kept_TK


def of_nllb(layer: HuggingFaceLayer, output: tuple[Tensor, Tensor, Tensor]) -> Decoded:
    """(mask of the first choice, weights of both, logits). The experts take the mask for ids, so
    expert 1 runs with the weight of the first choice, expert 0 with that of the second."""
    mask_TE, weights_TE, logits_TE = output
    first_T = (weights_TE * mask_TE).sum(-1)
    second_T = (weights_TE * (1 - mask_TE)).sum(-1)
    weights_TK = torch.stack([first_T, second_T], dim=-1)
    ids_TK = torch.tensor([1, 0], device=mask_TE.device).expand(len(mask_TE), 2)
    return logits_TE, ids_TK, weights_TK, None


def of_zaya(layer: HuggingFaceLayer, output: tuple[Tensor, ...]) -> Decoded:
    """(logits, the last of which is to skip; weight; id, which is 0 with weight 0 for a skip)"""
    logits_TE, weights_TK, ids_TK = output[:3]
    skipped_TK = (weights_TK == 0) & (ids_TK == 0)
    return logits_TE, ids_TK.masked_fill(skipped_TK, logits_TE.shape[-1] - 1), weights_TK, None


def watch_doge(layer: HuggingFaceLayer, watcher: Watcher) -> list[RemovableHandle]:
    """Product keys: an expert's logit is the sum of two, and its row of an embedding is all that it
    is. Ids are the rows looked up; weights are a softmax over their logits."""
    logits: list[Tensor] = []
    seen: list[Tensor] = []

    def starts(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = arguments[0] if arguments else named["hidden_states"]
        seen[:] = [x.reshape(-1, x.shape[-1])]

    def decided(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        x_2TK = output.view(2, output.shape[0] * output.shape[1], -1)
        logits[:] = [(x_2TK[0].unsqueeze(-1) + x_2TK[1].unsqueeze(-2)).flatten(-2)]
        watcher.decided(logits[0])

    def executed(module: nn.Module, arguments: tuple[Tensor]) -> None:
        [ids_TK] = arguments
        watcher.executed(seen[0], ids_TK, logits[0].gather(-1, ids_TK).softmax(-1))

    gate, looked_up = layer.block.router_gate, layer.block.down_embed
    assert isinstance(gate, nn.Module)
    assert isinstance(looked_up, nn.Module)
    return [
        layer.block.register_forward_pre_hook(starts, with_kwargs=True),
        gate.register_forward_hook(decided),
        looked_up.register_forward_pre_hook(executed),
    ]


WHOLE_BLOCKS = ("DogeCDMoE",)  # what is recorded is no router, but all of the layer
EXCEPTIONS = {
    "DogeCDMoE": watch_doge,
    "JetMoeTopKGating": watch_gate(of_jetmoe),
    "Llama4Router": watch_gate(of_llama4),
    "NllbMoeTop2Router": watch_gate(of_nllb),
    "SwitchTransformersTop1Router": watch_gate(of_switch),
    "ZayaRouter": watch_gate(of_zaya),
}
