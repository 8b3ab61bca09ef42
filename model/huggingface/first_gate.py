"""How the first gate of a model chooses, before its weights are read: that gate alone runs, with
random weights, on random states.

T = tokens, D = model dim.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.huggingface.layers import HuggingFaceLayer
from model.huggingface.rules import UNKNOWN, inferred
from model.huggingface.trial import SCORED_BY, Run, Seen

TOKENS = 256
LARGEST = 2**26  # numbers of what is given memory: gates have fewer
LOGIT_STD = 1.5


class GivenToExperts(Exception):  # noqa: N818  # no error: the experts need not run
    pass


@dataclass(frozen=True, slots=True)
class FirstGate:
    scoring: str
    num_experts: int
    top_k: int


@torch.inference_mode()
def first_gate(layer: HuggingFaceLayer) -> FirstGate | None:
    """Of a layer on the meta device, whose gate gets weights for it; None: only a forward of the
    whole model tells."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            run = run_alone(layer)
        if run is None or run.logits_TE is None:
            return None
        rule = inferred(
            run.logits_TE,
            run.expert_ids_TK,
            run.weights_TK,
            around=[layer.gate, layer.block],
            scoring=SCORED_BY.get(type(layer.gate).__name__),
        )
    except Exception:  # gates that want more than states: ids of tokens, masks, a cache
        return None
    if rule.scoring == UNKNOWN:
        return None
    return FirstGate(rule.scoring, run.logits_TE.shape[-1], run.expert_ids_TK.shape[-1])


def run_alone(layer: HuggingFaceLayer) -> Run | None:
    """What the experts would have been given; None: nothing."""
    model_dim = fill(layer)
    seen = Seen(layer, [])
    handles = [*layer.watch(seen), layer.experts.register_forward_pre_hook(stop)]
    try:
        layer.block(torch.randn(1, TOKENS, model_dim))
    except GivenToExperts:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return seen.runs[0] if seen.runs else None


def stop(module: nn.Module, arguments: Any) -> None:
    raise GivenToExperts


def fill(layer: HuggingFaceLayer) -> int:
    """Random weights for all of the block but its experts; the model dim."""
    experts = [layer.experts, *([layer.shared_experts] if layer.shared_experts else [])]
    inside = {id(module) for one in experts if one is not layer.block for module in one.modules()}
    width = 0
    for module in layer.block.modules():
        if id(module) in inside:
            continue
        for name, tensor in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if tensor.numel() > LARGEST:
                raise ValueError(f"{name} is no weight of a gate")
            if tensor.dim() == 2:
                width = width or tensor.shape[-1]
            made = random_like(tensor)
            if isinstance(tensor, nn.Parameter):
                setattr(module, name, nn.Parameter(made, requires_grad=False))
            else:
                module.register_buffer(name, made)
    return width


def random_like(tensor: Tensor) -> Tensor:
    """Rows of a matrix make logits of LOGIT_STD; vectors are biases and scales."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    made = torch.randn(tensor.shape)
    if tensor.dim() > 1:
        return made * LOGIT_STD / tensor.shape[-1] ** 0.5
    return 1 + made / 10
