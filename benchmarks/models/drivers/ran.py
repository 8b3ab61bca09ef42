"""What experts of a model of transformers were given: plain hooks on the experts themselves.

Imports nothing of RouteScope: it runs beside every tool, in the forward that the tool reads.
T = tokens, E = experts, K = chosen, D = model dim.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Ran:
    """Of each call of a layer's experts, in order: who ran [T, E], and the weights, where given."""

    def __init__(self) -> None:
        self.chosen: list[Tensor] = []
        self.weights: list[Tensor | None] = []

    def clear(self) -> None:
        self.chosen, self.weights = [], []

    def add(self, ids_TK: Tensor, weights_TK: Tensor | None, num_experts: int) -> None:
        """An id of -1 is no choice."""
        chosen_TE = torch.zeros(len(ids_TK), num_experts + 1, dtype=torch.bool)
        chosen_TE.scatter_(1, ids_TK % (num_experts + 1), torch.ones_like(ids_TK, dtype=torch.bool))
        self.chosen.append(chosen_TE[:, :num_experts])
        if weights_TK is not None:
            dense_TE = torch.full((len(ids_TK), num_experts), torch.nan)
            weights_TK = dense_TE.scatter(1, ids_TK, weights_TK.detach().float())
        self.weights.append(weights_TK)


@contextmanager
def watched(model: nn.Module) -> Iterator[Ran]:
    ran = Ran()
    handles = [handle for name, one in model.named_modules() for handle in watch(name, one, ran)]
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()


def watch(name: str, module: nn.Module, ran: Ran) -> list[Any]:
    if (known := WATCHES.get(type(module).__name__)) is not None:
        return known(module, ran)
    return watch_given(module, ran) if name.rpartition(".")[2] == "experts" else []


def watch_given(experts: Any, ran: Ran) -> list[Any]:
    """Experts that are called with ids and weights."""

    def called(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = [x for x in [*arguments, *named.values()] if isinstance(x, Tensor)]
        ids = next((x for x in given if x.dim() == 2 and not x.is_floating_point()), None)
        if ids is not None:
            floats = (x for x in given if x.is_floating_point() and x.shape == ids.shape)
            ran.add(ids.long(), next(floats, None), ids_known(experts, ids))

    return [experts.register_forward_pre_hook(called, with_kwargs=True)]


def ids_known(experts: nn.Module, ids: Tensor) -> int:
    """Experts of a layer, those without weights too."""
    sizes = [len(x) for x in experts.parameters() if x.dim() == 3]
    return max([*sizes, int(ids.max()) + 1])


def watch_skipping(experts: Any, ran: Ran) -> list[Any]:
    """A token that skips is given to expert 0 with weight 0: here it has the id after the last."""

    def called(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        ids_TK, weights_TK = arguments[1], arguments[2]
        ids_TK = ids_TK.masked_fill(weights_TK == 0, experts.num_experts)
        ran.add(ids_TK, None, experts.num_experts + 1)

    return [experts.register_forward_pre_hook(called)]


def watch_inputs(experts: Any, ran: Ran) -> list[Any]:
    """All experts run on all tokens, on zeros where they were not chosen."""

    def called(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        used_ET = arguments[0].view(experts.num_experts, -1, arguments[0].shape[-1]).any(-1)
        ids_TE = torch.arange(experts.num_experts).expand(used_ET.shape[1], -1)
        ran.add(ids_TE.where(used_ET.T, -1), None, experts.num_experts)

    return [experts.register_forward_pre_hook(called)]


def watch_each(experts: Any, ran: Ran) -> list[Any]:
    """Each expert is a module of its own: its rows are found again among those of the layer."""
    seen: dict[str, Tensor] = {}

    def starts(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen["x"] = arguments[0]
        seen["ids"] = torch.full((len(arguments[0]), len(experts)), -1)

    def runs(expert: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def called(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            seen["ids"][rows_among(arguments[0], seen["x"]), expert] = expert

        return called

    def ends(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        ran.add(seen["ids"], None, len(experts))

    return [
        experts.register_forward_pre_hook(starts),
        *(one.register_forward_pre_hook(runs(i)) for i, one in enumerate(experts.values())),
        experts.register_forward_hook(ends),
    ]


def watch_sorted(block: Any, ran: Ran) -> list[Any]:
    """Rows sorted by expert, and how many each expert gets."""
    seen: list[Tensor] = []

    def starts(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen[:] = [arguments[0]]

    def called(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        sorted_RD, sizes = arguments
        parts = sorted_RD.split(sizes)
        ids_TE = torch.full((len(seen[0]), len(parts)), -1)
        for expert, part_RD in enumerate(parts):
            ids_TE[rows_among(part_RD, seen[0]), expert] = expert
        ran.add(ids_TE, None, len(parts))

    return [
        block.router.register_forward_pre_hook(starts),
        block.input_linear.register_forward_pre_hook(called),
    ]


def watch_rows(block: Any, ran: Ran) -> list[Any]:
    """An expert is a row of two tables: those looked up in the second."""

    def called(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        ran.add(arguments[0], None, block.num_experts)

    return [block.up_embed.register_forward_pre_hook(called)]


def rows_among(rows_RD: Tensor, x_TD: Tensor) -> Tensor:
    return (rows_RD[:, None] == x_TD[None]).all(-1).any(0)


WATCHES: dict[str, Callable[[Any, Ran], list[Any]]] = {
    "DogeCDMoE": watch_rows,
    "JetMoeMoA": watch_sorted,
    "JetMoeMoE": watch_sorted,
    "Llama4TextExperts": watch_inputs,
    "NllbMoeExperts": watch_each,
    "SwitchTransformersExperts": watch_each,
    "ZayaExperts": watch_skipping,
}
