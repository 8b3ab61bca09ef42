"""What a model routes, seen from outside: hooks on every MoE layer of any model.

A MoE layer is a module with children `gate` and `experts`. The gate returns
(router_logits_TE, weights_TK, expert_ids_TK), the logits None where it has none; `experts` receives
(hidden_TD, expert_ids_TK, weights_TK), which is what is executed; a place after a token's last
expert is NO_EXPERT with weight 0. A gate may say how it scores
(`scores`, else softmax), by what it chooses (`preference`, else its scores) and how many choices of
a sequence an expert takes (`capacity`, else all): with one, a weight of 0 is a choice refused.

T = tokens (sequences x positions, row-major), D = model dim, E = routed experts, K = chosen,
L = MoE layers, R = recorded rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.routing import NO_EXPERT


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """One forward pass of the whole model, on the host. Rank 0 has the largest weight."""

    expert_ids_TLK: np.ndarray  # int16
    weights_TLK: np.ndarray  # float32
    dropped_ids_TLK: np.ndarray | None  # int16: chosen, but full; None: no layer has a capacity
    entropy_TL: np.ndarray  # float32, nats; NaN where the gate has no logits
    margin_TL: np.ndarray  # float32; NaN where no expert was rejected, or without logits
    loss_T: np.ndarray  # float32, as given to `transfer`; NaN without


class Transfer:
    """Decisions on their way to the host: one copy, which the next forward need not wait for."""

    def __init__(self, *, expert_ids: Tensor, values: list[Tensor], refusing_L: np.ndarray) -> None:
        self._refusing_L = refusing_L  # bool: layers with a capacity
        self._ids_shape = expert_ids.shape
        self._value_shapes = [value.shape for value in values]
        parts = [*values, expert_ids]  # float32 first keeps both aligned
        packed = torch.cat([part.reshape(-1).view(torch.uint8) for part in parts])
        self._copied: torch.cuda.Event | None = None
        if packed.is_cuda:
            self._host = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
            self._host.copy_(packed, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._host = packed.cpu()

    def wait(self) -> Decisions:
        if self._copied is not None:
            self._copied.synchronize()
        packed = self._host.numpy()
        arrays = []
        for shape in self._value_shapes:
            size = 4 * shape.numel()
            arrays.append(packed[:size].view(np.float32).reshape(shape))
            packed = packed[size:]
        weights_TLK, entropy_TL, margin_TL, loss_T = arrays
        expert_ids_TLK = packed.view(np.int16).reshape(self._ids_shape)
        if (weights_TLK[..., 1:] > weights_TLK[..., :-1]).any():
            order_TLK = np.argsort(-weights_TLK, axis=-1, kind="stable")
            expert_ids_TLK = np.take_along_axis(expert_ids_TLK, order_TLK, axis=-1)
            weights_TLK = np.take_along_axis(weights_TLK, order_TLK, axis=-1)
        dropped_ids_TLK = None
        if self._refusing_L.any():
            refused_TLK = (weights_TLK == 0) & self._refusing_L[:, None]
            dropped_ids_TLK = np.where(refused_TLK, expert_ids_TLK, NO_EXPERT).astype(np.int16)
            expert_ids_TLK = np.where(refused_TLK, NO_EXPERT, expert_ids_TLK).astype(np.int16)
        return Decisions(
            expert_ids_TLK=expert_ids_TLK,
            weights_TLK=weights_TLK,
            dropped_ids_TLK=dropped_ids_TLK,
            entropy_TL=entropy_TL,
            margin_TL=margin_TL,
            loss_T=loss_T,
        )


class Recording:
    """References to what the last forward of the whole model decided, layer by layer."""

    def __init__(self, gates: list[nn.Module]) -> None:
        self._gates = gates
        self.clear()

    def clear(self) -> None:
        self._router_logits: dict[int, Tensor | None] = {}
        self._executed: dict[int, tuple[Tensor, Tensor]] = {}
        self.output: Any = None  # of the model

    def transfer(self, rows_R: Tensor | None = None, loss_R: Tensor | None = None) -> Transfer:
        """Send the given rows (all without) to the host, and forget the forward."""
        if len(self._executed) != len(self._gates):
            raise ValueError(
                f"{len(self._executed)} of {len(self._gates)} MoE layers ran in the last forward; "
                "run the whole model once before each hand-over"
            )
        layers = [self._layer(layer, rows_R) for layer in range(len(self._gates))]
        self.clear()
        ids, weights, entropy, margin = (list(column) for column in zip(*layers, strict=True))
        expert_ids_RLK = torch.stack(pad(ids, NO_EXPERT), dim=1)
        if loss_R is None:
            loss_R = torch.full(expert_ids_RLK.shape[:1], torch.nan, device=expert_ids_RLK.device)
        values = [torch.stack(pad(weights, 0.0), dim=1)]
        values += [torch.stack(entropy, dim=1), torch.stack(margin, dim=1), loss_R.float()]
        refusing = [getattr(gate, "capacity", None) is not None for gate in self._gates]
        return Transfer(expert_ids=expert_ids_RLK, values=values, refusing_L=np.array(refusing))

    def take(self) -> Decisions:
        """All rows of the last forward, now."""
        return self.transfer().wait()

    def _layer(self, layer: int, rows_R: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(expert_ids_RK, weights_RK, entropy_R, margin_R)"""
        expert_ids, weights = self._executed[layer]
        router_logits = self._router_logits[layer]
        if rows_R is not None:
            expert_ids, weights = (x.index_select(0, rows_R) for x in (expert_ids, weights))
        if router_logits is None:
            unknown = torch.full_like(weights[:, 0], torch.nan, dtype=torch.float32)
            return expert_ids.to(torch.int16), weights.float(), unknown, unknown
        if rows_R is not None:
            router_logits = router_logits.index_select(0, rows_R)
        gate = self._gates[layer]
        scores = gate_scores(gate, router_logits)
        return (
            expert_ids.to(torch.int16),
            weights.float(),
            entropy(scores),
            margin(gate_preference(gate, scores), expert_ids),
        )

    def keep_logits(self, layer: int, output: tuple[Tensor | None, ...]) -> None:
        logits = output[0]
        self._router_logits[layer] = None if logits is None else logits.detach()

    def keep_executed(self, layer: int, arguments: list[Tensor]) -> None:
        _, expert_ids_TK, weights_TK = arguments[:3]
        self._executed[layer] = expert_ids_TK.detach(), weights_TK.detach()


def gate_scores(gate: nn.Module, router_logits_TE: Tensor) -> Tensor:
    logits_TE = router_logits_TE.float()
    scores = getattr(gate, "scores", None)
    return F.softmax(logits_TE, dim=-1) if scores is None else scores(logits_TE)


def gate_preference(gate: nn.Module, scores_TE: Tensor) -> Tensor:
    preference = getattr(gate, "preference", None)
    return scores_TE if preference is None else preference(scores_TE)


def entropy(scores_TE: Tensor) -> Tensor:
    """Nats of scores / sum(scores): sum(-s log s) / sum(s) + log sum(s)."""
    total_T = scores_TE.sum(-1)
    log_TE = scores_TE.clamp_min(torch.finfo(torch.float32).tiny).log()  # 0 log 0 is 0
    return total_T.log() - (scores_TE * log_TE).sum(-1) / total_T


def margin(chosen_by_TE: Tensor, expert_ids_TK: Tensor) -> Tensor:
    """Last chosen minus best rejected; NaN where every expert was chosen."""
    ids_TK = expert_ids_TK.where(expert_ids_TK != NO_EXPERT, expert_ids_TK[:, :1])
    last_T = chosen_by_TE.gather(-1, ids_TK).amin(-1)
    rejected_TE = chosen_by_TE.scatter(-1, ids_TK, -torch.inf)
    return (last_T - rejected_TE.amax(-1)).nan_to_num_(posinf=torch.nan)


def pad(layers: list[Tensor], fill: float) -> list[Tensor]:
    """Layers may choose different numbers of experts."""
    width = max(layer.shape[1] for layer in layers)
    return [F.pad(layer, (0, width - layer.shape[1]), value=fill) for layer in layers]


def moe_layers(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """(gate, experts) of every MoE layer, first to last."""
    return [(children["gate"], children["experts"]) for children in moe_children(model)]


def moe_children(model: nn.Module) -> list[dict[str, nn.Module]]:
    """The children of every MoE layer, by name."""
    children = [dict(module.named_children()) for module in model.modules()]
    return [named for named in children if "gate" in named and "experts" in named]


@contextmanager
def recorded_routing(model: nn.Module) -> Iterator[Recording]:
    """Record every forward of the model inside the block. Attach before torch.compile."""
    layers = moe_layers(model)
    if not layers:
        raise ValueError("the model has no MoE layer (a module with children gate and experts)")
    recording = Recording([gate for gate, _ in layers])

    def keep_output(module: nn.Module, arguments: Any, output: Any) -> None:
        recording.output = output

    hooks = [
        model.register_forward_pre_hook(lambda module, arguments: recording.clear()),
        model.register_forward_hook(keep_output),
    ]
    for layer, (gate, experts) in enumerate(layers):
        hooks.append(gate.register_forward_hook(logits_hook(recording, layer)))
        hooks.append(
            experts.register_forward_pre_hook(executed_hook(recording, layer), with_kwargs=True)
        )
    try:
        yield recording
    finally:
        for hook in hooks:
            hook.remove()


def logits_hook(recording: Recording, layer: int) -> Any:
    return lambda module, arguments, output: recording.keep_logits(layer, output)


def executed_hook(recording: Recording, layer: int) -> Any:
    return lambda module, arguments, named: recording.keep_executed(
        layer, [*arguments, *named.values()]
    )
