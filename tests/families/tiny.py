"""A tiny model of any family, whose routers choose differently for different tokens.

B = sequences, S = positions.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from tests.families.found import Family
from tests.families.routers import routers
from tests.families.shrink import EXPERTS, shrunk

ROUTER_STD = 0.5  # over a state of 32 numbers about 1: logits about 3
BIAS_STD = 0.1  # of what is added to scores for the choice alone
NOISE_STD = 0.1  # on what begins as a constant: norms and biases


def tiny(family: Family, *, seed: int = 0) -> Any:
    """In eval mode and float32, on the CPU. The same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = family.model_class(shrunk(family.config_class)).eval()
        for path, router in routers(model).items():
            _vary(router)
            _bias(router, block=model.get_submodule(path.rpartition(".")[0]))
        for parameter in model.parameters():
            if (parameter == parameter.flatten()[0]).all():
                parameter.add_(torch.randn_like(parameter) * NOISE_STD)
    return model


def _vary(router: nn.Module) -> None:
    """A block that is its own router says in names which of its matrices route."""
    matrices = {
        name: matrix
        for name, matrix in router.named_parameters()
        if matrix.ndim > 1 and "bias" not in name
    }
    routing = {name: matrix for name, matrix in matrices.items() if name.startswith("router")}
    for matrix in (routing or matrices).values():
        matrix.normal_(std=ROUTER_STD / len(routing or matrices) ** 0.5)


def _bias(router: nn.Module, *, block: nn.Module) -> None:
    """Biases on the choice lie in the router or beside it; a router that hashes has a table."""
    inside = [*router.named_parameters(), *router.named_buffers()]
    beside = [*block.named_parameters(recurse=False), *block.named_buffers(recurse=False)]
    for name, tensor in inside + beside:
        if "bias" in name:
            tensor.add_(torch.randn_like(tensor) * BIAS_STD)
        elif not tensor.is_floating_point():
            tensor.copy_(torch.rand(len(tensor), EXPERTS).topk(tensor.shape[1]).indices)


def forward_inputs(
    model: Any, family: Family, token_ids_BS: Tensor, attention_mask_BS: Tensor
) -> dict[str, Tensor]:
    """A decoder beside an encoder gets the same tokens."""
    inputs = {"input_ids": token_ids_BS, "attention_mask": attention_mask_BS}
    if "decoder_input_ids" in inspect.signature(model.forward).parameters:
        inputs["decoder_input_ids"] = token_ids_BS
        if family.kind == "seq2seq":
            inputs["decoder_attention_mask"] = attention_mask_BS
    return inputs
