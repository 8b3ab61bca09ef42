"""What one forward decided, on its way from the device to the host.

T = tokens (sequences x positions, row-major), K = chosen, L = MoE layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
    finite_TL: np.ndarray  # bool: every router logit is a finite number, or the gate has none
    explained_TL: np.ndarray  # bool: the weights are those of the scores by the layer's rule


def concatenated(decisions: Sequence[Decisions]) -> Decisions:
    """Of all tokens, in the order given."""
    if len(decisions) == 1:
        return decisions[0]
    columns = {
        field.name: [getattr(one, field.name) for one in decisions] for field in fields(Decisions)
    }
    whole: dict[str, Any] = {
        name: None if values[0] is None else np.concatenate(values)
        for name, values in columns.items()
    }
    return Decisions(**whole)


class Transfer:
    """Decisions on their way to the host: one copy, which the next forward need not wait for."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        """The fields of `ranked`, the widest types first: that keeps all aligned."""
        self._layout = [
            (name, value.shape, value.new_empty(0, device="cpu").numpy().dtype)
            for name, value in values.items()
        ]
        packed = torch.cat([value.reshape(-1).view(torch.uint8) for value in values.values()])
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
        values = {}
        for name, shape, dtype in self._layout:
            size = shape.numel() * dtype.itemsize
            values[name] = packed[:size].view(dtype).reshape(shape)
            packed = packed[size:]
        return ranked(**values)


def ranked(
    *,
    weights_TLK: np.ndarray,
    entropy_TL: np.ndarray,
    margin_TL: np.ndarray,
    loss_T: np.ndarray,
    expert_ids_TLK: np.ndarray,
    finite_TL: np.ndarray,
    explained_TL: np.ndarray,
    kept_TLK: np.ndarray | None = None,
) -> Decisions:
    """`kept_TLK`: choices that found room; None: no layer has a capacity."""
    dropped_ids_TLK = None
    by_TLK = weights_TLK
    if kept_TLK is not None:
        by_TLK = np.nan_to_num(weights_TLK, nan=float(np.finfo(np.float32).min))
        by_TLK = np.where(kept_TLK, by_TLK, -np.inf)  # all that was executed first
        weights_TLK = np.where(kept_TLK, weights_TLK, np.float32(0))
        dropped_ids_TLK = np.where(kept_TLK, NO_EXPERT, expert_ids_TLK).astype(np.int16)
        expert_ids_TLK = np.where(kept_TLK, expert_ids_TLK, NO_EXPERT).astype(np.int16)
    if (by_TLK[..., 1:] > by_TLK[..., :-1]).any():
        order_TLK = np.argsort(-by_TLK, axis=-1, kind="stable")
        expert_ids_TLK = np.take_along_axis(expert_ids_TLK, order_TLK, axis=-1)
        weights_TLK = np.take_along_axis(weights_TLK, order_TLK, axis=-1)
    return Decisions(
        expert_ids_TLK=expert_ids_TLK,
        weights_TLK=weights_TLK,
        dropped_ids_TLK=dropped_ids_TLK,
        entropy_TL=entropy_TL,
        margin_TL=margin_TL,
        loss_T=loss_T,
        finite_TL=finite_TL,
        explained_TL=explained_TL,
    )
