"""Products of groups of experts on a CPU: what one thread takes at a time.

E = stored experts, C = choices, sorted by expert, R = those of one group, X = inputs of a product,
Y = its outputs.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from model.kernels.int8 import Int8

GROUPS, GROUP_ROWS = 8, 1024  # at least so many, of at most so many rows, where experts allow it
GROUP_WORK = 2**24  # multiplications by `down` that a group is worth

Weights: TypeAlias = Tensor | Int8  # [E, X, Y]
WeightsOf: TypeAlias = Callable[[int | slice], Tensor]


class Group(NamedTuple):
    start: int  # of its rows among the choices
    experts: list[int]
    rows: list[int]  # of each of them
    ends: Tensor | None  # of rows, of all from the first expert to the last: one call for all

    def of(self, each_C: Tensor) -> Tensor:
        return each_C[self.start : self.start + sum(self.rows)]


def grouped(rows_E: list[int], *, least: int) -> Iterator[Group]:
    """Experts that have rows, in order; ever smaller groups, so that threads end together, but of
    `least` rows."""
    group, left = Group(0, [], [], None), sum(rows_E)
    for expert, rows in enumerate(rows_E):
        most = min(GROUP_ROWS, max(least, left // GROUPS))
        if group.rows and sum(group.rows) + rows > most:
            yield group
            left -= sum(group.rows)
            group = Group(group.start + sum(group.rows), [], [], None)
        if rows:
            group.experts.append(expert)
            group.rows.append(rows)
    if group.rows:
        yield group


def ends(group: Group, rows_E: list[int]) -> Tensor:
    rows = rows_E[group.experts[0] : group.experts[-1] + 1]
    return torch.tensor(rows).cumsum(0, dtype=torch.int32)


def converted(weights: Weights, dtype: torch.dtype) -> WeightsOf:
    """Weights of an expert, or of some, in `dtype`, until others are asked for."""
    if isinstance(weights, Int8):
        return partial(weights.numbers, dtype=dtype)
    all_EXY = weights.detach()
    if weights.dtype == dtype:
        return all_EXY.__getitem__
    place_XY = torch.empty_like(all_EXY[0], dtype=dtype)

    def of(which: int | slice) -> Tensor:
        some = all_EXY[which]
        return some.to(dtype) if isinstance(which, slice) else place_XY.copy_(some)

    return of


def multiply(
    group: Group,
    rows_RX: Tensor,
    weights_of: WeightsOf,
    *,
    transposed: bool = False,
    out: Tensor,
) -> None:
    """Each row by its expert's weights."""
    if group.ends is not None:
        some_EXY = weights_of(slice(group.experts[0], group.experts[-1] + 1))
        out.copy_(F.grouped_mm(rows_RX, some_EXY.mT if transposed else some_EXY, offs=group.ends))
        return
    pieces = zip(group.experts, rows_RX.split(group.rows), out.split(group.rows), strict=True)
    for expert, rows, result in pieces:
        weights = weights_of(expert)
        torch.mm(rows, weights.t() if transposed else weights, out=result)


def correlate(group: Group, rows_RX: Tensor, rows_RY: Tensor, *, out: Tensor) -> None:
    """The gradient [E, X, Y] of the weights that led from the one to the other."""
    if group.ends is not None:
        some_EXY = F.grouped_mm(rows_RX.t(), rows_RY, offs=group.ends)
        out[group.experts[0] : group.experts[-1] + 1] = some_EXY
        return
    place_XY = torch.empty_like(out[0], dtype=rows_RX.dtype)
    pieces = zip(group.experts, rows_RX.split(group.rows), rows_RY.split(group.rows), strict=True)
    for expert, before, after in pieces:
        if out.dtype == rows_RX.dtype:
            torch.mm(before.t(), after, out=out[expert])
        else:
            out[expert] = torch.mm(before.t(), after, out=place_XY)
