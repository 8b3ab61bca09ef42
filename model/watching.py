"""What happens inside a MoE layer while it runs, told to whoever watches.

T = tokens, D = model dim, E = routed experts, K = chosen.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Watcher(Protocol):
    """Of one layer. What it is given belongs to the model: keep references, change nothing."""

    def decided(self, router_logits_TE: Tensor | None, /) -> None:
        """The gate has run; None: it has no logits."""

    def admitted(self, kept_TK: Tensor, /) -> None:
        """Which choices found room at their expert."""

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor, /) -> None:
        """What the experts were given."""


class Contract(Protocol):
    """A layer whose gate gives (router_logits_TE or None, weights_TK, expert_ids_TK) and whose
    experts take (x_TD, expert_ids_TK, weights_TK)."""

    @property
    def gate(self) -> nn.Module: ...

    @property
    def experts(self) -> nn.Module: ...

    @property
    def admission(self) -> nn.Module | None: ...


def watch_contract(layer: Contract, watcher: Watcher) -> list[RemovableHandle]:
    """Attach before torch.compile: what is compiled without a hook never calls it."""

    def decided(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        watcher.decided(output[0])

    def admitted(module: nn.Module, arguments: tuple[Any, ...], kept_TK: Tensor) -> None:
        watcher.admitted(kept_TK)

    def executed(
        module: nn.Module, arguments: tuple[Tensor, ...], named: Mapping[str, Tensor]
    ) -> None:
        x_TD, expert_ids_TK, weights_TK = [*arguments, *named.values()][:3]
        watcher.executed(x_TD, expert_ids_TK, weights_TK)

    handles = [layer.gate.register_forward_hook(decided)]
    if layer.admission is not None:
        handles.append(layer.admission.register_forward_hook(admitted))
    return [*handles, layer.experts.register_forward_pre_hook(executed, with_kwargs=True)]
