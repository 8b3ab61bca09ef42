"""Rows between ranks: an all-to-all that is started, then awaited, forwards and backwards.

The gradient is the reverse all-to-all. It is started where the forward was awaited and awaited
where the forward was started, so that what is computed between `depart` and `arrive` overlaps with
both.

R = ranks, N = rows sent, M = rows received, D = model dim.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.autograd.function import once_differentiable

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max
SMALLEST = 1e-30  # of a row's largest value: a row of zeros stays zeros
SCALE_BYTES = 16  # a row in FP8 ends with its scale in float32, four times: rows stay aligned


class RankLostError(RuntimeError):
    """Another rank does not answer any more."""


def all_to_all(
    sent: Tensor, group: distributed.ProcessGroup, *, splits: tuple[list[int], list[int]]
) -> tuple[Tensor, distributed.Work]:
    """(what will be received, when): rows by rank, `splits` of them to each and from each."""
    sent_R, received_R = splits
    received = sent.new_empty((sum(received_R), *sent.shape[1:]))
    with reaching(group):
        work = distributed.all_to_all_single(
            received, sent, received_R, sent_R, group=group, async_op=True
        )
    assert work is not None
    return received, work


def wait(work: distributed.Work, group: distributed.ProcessGroup) -> None:
    with reaching(group):
        work.wait()


@contextmanager
def reaching(group: distributed.ProcessGroup) -> Iterator[None]:
    """An exchange with the other ranks; a RankLostError where one does not answer."""
    try:
        yield
    except RankLostError:
        raise
    except RuntimeError as error:
        raise RankLostError(
            f"rank {group.rank()} of {group.size()} waits for rows that do not come: another rank "
            "has stopped, its own error says why; restart all ranks "
            f"({str(error).splitlines()[0]})"
        ) from error


class Exchange:
    """One all-to-all of rows with known splits, and its gradient."""

    def __init__(
        self,
        group: distributed.ProcessGroup,
        *,
        sent_R: list[int],
        received_R: list[int],
        fp8: bool = False,
    ) -> None:
        """With `fp8`, the first tensor travels as e4m3 with a scale a row; gradients do not."""
        self.group = group
        self.splits = sent_R, received_R
        self.fp8 = fp8
        self._flying: list[tuple[Tensor, Tensor, distributed.Work]] = []  # sent, received, when
        self._dtypes: list[torch.dtype] = []  # of what arrives

    def depart(self, *rows: Tensor) -> tuple[Tensor, ...]:
        """Start; what it gives is only to be handed to `arrive`."""
        return Depart.apply(self, *rows)

    def arrive(self, departed: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return Arrive.apply(self, *departed)

    def start(self, rows: Sequence[Tensor], *, back: bool) -> None:
        assert not self._flying
        splits = self.splits[::-1] if back else self.splits
        for place, row in enumerate(rows):
            packed = self.fp8 and not back and place == 0
            message = in_fp8(row) if packed else in_bytes(row)
            self._flying.append((message, *all_to_all(message, self.group, splits=splits)))
        self._dtypes = [row.dtype for row in rows]

    def finish(self, *, back: bool) -> tuple[Tensor, ...]:
        arrived = []
        for place, (_, received, work) in enumerate(self._flying):
            wait(work, self.group)
            dtype = self._dtypes[place]
            packed = self.fp8 and not back and place == 0
            arrived.append(from_fp8(received, dtype) if packed else received.view(dtype))
        self._flying = []
        return tuple(arrived)


def in_flight(rows: Tensor, count: int) -> Tensor:
    """Stands for rows on their way: their shape, no memory."""
    return rows.new_empty(()).expand(count, *rows.shape[1:])


class Depart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exchange: Exchange, *rows: Tensor) -> tuple[Tensor, ...]:
        ctx.exchange = exchange
        exchange.start(rows, back=False)
        return tuple(in_flight(row, len(row)) for row in rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *departed: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.exchange.finish(back=True)


class Arrive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exchange: Exchange, *departed: Tensor) -> tuple[Tensor, ...]:
        ctx.exchange = exchange
        return exchange.finish(back=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.exchange.start(gradients, back=True)
        sent = sum(ctx.exchange.splits[0])
        return None, *(in_flight(gradient, sent) for gradient in gradients)


def in_bytes(rows_ND: Tensor) -> Tensor:
    if not len(rows_ND):  # counts as contiguous with any strides, but can then not be viewed
        rows_ND = rows_ND.new_empty(rows_ND.shape)
    return rows_ND.contiguous().view(torch.uint8)


def in_fp8(rows_ND: Tensor) -> Tensor:
    """Bytes [N, D + SCALE_BYTES]."""
    divide = fused_scaled if rows_ND.is_cuda else scaled
    values_ND, scale_N1 = divide(rows_ND)
    scale_N4 = scale_N1.repeat(1, SCALE_BYTES // 4)
    return torch.cat((values_ND.view(torch.uint8), scale_N4.view(torch.uint8)), dim=1)


def from_fp8(message: Tensor, dtype: torch.dtype) -> Tensor:
    scale_N1 = message[:, -4:].contiguous().view(torch.float32)
    multiply = fused_unscaled if message.is_cuda else unscaled
    return multiply(message[:, :-SCALE_BYTES].view(FP8), scale_N1, dtype)


def scaled(rows_ND: Tensor) -> tuple[Tensor, Tensor]:
    largest_N1 = rows_ND.abs().amax(-1, keepdim=True).float()
    scale_N1 = largest_N1.clamp_min(SMALLEST) / FP8_MAX
    return (rows_ND.float() / scale_N1).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale_N1


def unscaled(values_ND: Tensor, scale_N1: Tensor, dtype: torch.dtype) -> Tensor:
    return (values_ND.float() * scale_N1).to(dtype)


# in one pass over the rows instead of five
fused_scaled = torch.compile(scaled, dynamic=True)
fused_unscaled = torch.compile(unscaled, dynamic=True)
