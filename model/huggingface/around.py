"""What lies about a gate: numbers of its module or config, vectors of one number an expert."""

from collections.abc import Iterator

from torch import Tensor, nn


def number_called(names: tuple[str, ...], around: list[nn.Module]) -> int | None:
    for place in [*around, *(getattr(module, "config", None) for module in around)]:
        for name in names:
            value = getattr(place, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None


def vectors(around: list[nn.Module], num_experts: int) -> Iterator[tuple[str, Tensor]]:
    """(name, values) of every parameter and buffer [E] of the gate and what holds it, but for those
    of the experts."""
    seen: set[int] = set()
    for module in around:
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.numel() == num_experts and id(tensor) not in seen:
                if not tensor.is_floating_point() or "experts." in f"{name}.":
                    continue
                seen.add(id(tensor))
                yield name, tensor.detach().float().flatten()
