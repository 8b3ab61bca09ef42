"""What a forward shows of MoE layers: which run, in which order, and by what rule they choose.

T = tokens, E = experts of the gate, K = chosen.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.huggingface.layers import HuggingFaceLayer, find_layers
from model.huggingface.rules import inferred

SCORED_BY = {  # of routers whose weights do not show it
    "PhimoeTopKRouter": "softmax",  # each weight is of a softmax of its own
    "NllbMoeTop2Router": "softmax",
}


class Run(NamedTuple):
    """What a layer did once."""

    logits_TE: Tensor | None
    expert_ids_TK: Tensor
    weights_TK: Tensor
    kept_TK: Tensor | None


class Seen:
    """Watches one layer for one forward."""

    def __init__(self, layer: HuggingFaceLayer, order: list[tuple[HuggingFaceLayer, int]]) -> None:
        self.layer, self.order = layer, order
        self.runs: list[Run] = []
        self.logits_TE: Tensor | None = None
        self.kept_TK: Tensor | None = None
        self.decisions = 0

    def decided(self, router_logits_TE: Tensor | None) -> None:
        self.decisions += 1
        self.logits_TE = router_logits_TE

    def admitted(self, kept_TK: Tensor) -> None:
        self.kept_TK = kept_TK

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> None:
        self.order.append((self.layer, len(self.runs)))
        self.runs.append(Run(self.logits_TE, expert_ids_TK, weights_TK, self.kept_TK))


@torch.inference_mode()
def tried_layers(model: nn.Module, run: Callable[[], object]) -> list[HuggingFaceLayer]:
    """The MoE layers that `run`, one forward of some text, executes, in that order; a block that
    runs several times is as many layers.

    ValueError: there are none, or one whose router ran and whose experts were given no choices.
    """
    found = find_layers(model)
    if not found:
        raise ValueError(
            f"{type(model).__name__} is dense: it has no router, so there is nothing to capture"
        )
    order: list[tuple[HuggingFaceLayer, int]] = []
    seen = {layer: Seen(layer, order) for layer in found}
    with ExitStack() as stack:
        for watcher in seen.values():
            for handle in watcher.layer.watch(watcher):
                stack.callback(handle.remove)
        run()
    require_understood(model, list(seen.values()))
    layers = []
    for layer, turn in order:
        turns = len(seen[layer].runs)
        one = layer if turns == 1 else layer.in_turn(turn, turns)
        describe(one, seen[layer].runs[turn])
        layers.append(one)
    return layers


def require_understood(model: nn.Module, seen: Sequence[Seen]) -> None:
    strange = [one for one in seen if one.decisions != len(one.runs)]
    if not strange and any(one.runs for one in seen):
        return
    found = "; ".join(
        f"{one.layer.name} ({type(one.layer.gate).__name__}, experts "
        f"{type(one.layer.experts).__name__})"
        for one in (strange or seen)[:3]
    )
    raise ValueError(
        f"{type(model).__name__} routes in a way that is not known here, and none is guessed: "
        f"{len(seen)} routers, of which experts were given no choices by {found}"
    )


def describe(layer: HuggingFaceLayer, run: Run) -> None:
    logits_TE, expert_ids_TK, weights_TK, kept_TK = run
    layer.k_range = (expert_ids_TK.shape[1],) * 2
    if logits_TE is None:
        layer.num_experts = int(getattr(layer.gate, "num_experts", int(expert_ids_TK.max()) + 1))
        return
    layer.num_experts = logits_TE.shape[-1]
    layer.drops = kept_TK is not None
    if kept_TK is not None:  # what was refused weighs nothing, whatever its score
        kept_T = kept_TK.all(-1)
        logits_TE, expert_ids_TK, weights_TK = (
            x[kept_T] for x in (logits_TE, expert_ids_TK, weights_TK)
        )
    layer.rule = inferred(
        logits_TE,
        expert_ids_TK,
        weights_TK,
        around=[layer.gate, layer.block],
        scoring=SCORED_BY.get(type(layer.gate).__name__),
    )
