"""The routers of a model of transformers, found by what its classes record and how blocks look."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def routers(model: nn.Module) -> dict[str, nn.Module]:
    """By path, in the order of the model."""
    recorded = tuple(_recorded(model))
    modules = dict(model.named_modules())
    found = {
        path: module
        for path, module in modules.items()
        if isinstance(module, recorded) or _beside_experts(path, modules)
    }
    return {path: router for path, router in found.items() if not _holds_another(path, found)}


def _recorded(model: nn.Module) -> set[type[Any]]:
    """The classes whose outputs `output_router_logits` collects."""
    classes: set[type[Any]] = set()
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            recorder = (module._can_record_outputs or {}).get("router_logits", [])
            for one in recorder if isinstance(recorder, list) else [recorder]:
                classes.add(one.target_class if hasattr(one, "target_class") else one)
    return classes


def _beside_experts(path: str, modules: dict[str, nn.Module]) -> bool:
    parent, _, name = path.rpartition(".")
    return name in ("gate", "router") and hasattr(modules[parent], "experts")


def _holds_another(path: str, found: dict[str, nn.Module]) -> bool:
    return any(other.startswith(f"{path}.") for other in found)
