"""The experts of an MoE layer spread over ranks, consecutive ones on each.

Two ways of sending a token to its experts. *naive*: a copy for every chosen expert, each computed
and sent back. *once*: one copy to every rank that holds chosen experts, with their local ids and
weights beside it; that rank adds up what its experts say and sends one row back.

R = ranks, T = tokens of this rank, K = places for choices of a token, D = model dim, E = routed
experts, e = of them on one rank, N = rows sent, M = rows received, C = choices to compute here.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh

from data.routing import NO_EXPERT
from model.moe import Experts, MoE, compute_dtype
from model.parallel.exchange import SCALE_BYTES, Exchange, all_to_all, wait

Dispatch = Literal["naive", "once"]
CHOICE_BYTES = 8  # beside a row sent once, for every place: id and weight in float32

Meanwhile = Callable[[Tensor], Tensor] | None  # what a rank computes while rows are on their way


class ExpertParallelMoE(MoE):
    """The layer of one rank: whole gate and shared experts, its slice of the routed ones.

    Gradients of gate and shared experts are of this rank's tokens: sum them over the ranks. Those
    of the slice are of all tokens.
    """

    def __init__(self, moe: MoE, experts: "SpreadExperts") -> None:
        super().__init__(moe.gate, experts, moe.shared_experts, num_experts=moe.num_experts)

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        return self.experts(x_TD, expert_ids_TK, weights_TK, self.shared_experts)


def spread_layer(
    moe: MoE, mesh: DeviceMesh, *, dispatch: Dispatch = "once", fp8: bool = False
) -> ExpertParallelMoE:
    """This rank's layer of a mesh of one dimension, made from the whole layer's weights."""
    gate_up_EDF, down_EFD = moe.experts.gate_up_EDF.detach(), moe.experts.down_EFD.detach()
    weights = own_slice(gate_up_EDF, mesh).clone(), own_slice(down_EFD, mesh).clone()
    return ExpertParallelMoE(moe, SpreadExperts(*weights, mesh, dispatch=dispatch, fp8=fp8))


def spread_model(model: nn.Module, mesh: DeviceMesh) -> None:
    """Of every MoE layer of a whole model this rank keeps its slice of the experts."""
    require_spreadable(model, mesh.size())
    layers = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, MoE)
    ]
    for parent, name, layer in layers:
        setattr(parent, name, spread_layer(layer, mesh))


def require_spreadable(model: nn.Module, ranks: int) -> None:
    layers = [module for module in model.modules() if isinstance(module, MoE)]
    if not layers:
        raise ValueError("a dense model has no experts to spread; leave out --parallel")
    for layer in layers:
        experts_per_rank(layer.num_experts, ranks)
        if layer.experts.place_E is not None:
            raise ValueError(
                "experts that were pruned cannot be spread; spread the model they are of"
            )


def own_slice(values_EXX: Tensor, mesh: DeviceMesh) -> Tensor:
    """What one value or more an expert are on this rank."""
    size = experts_per_rank(len(values_EXX), mesh.size())
    return values_EXX[mesh.get_local_rank() * size :][:size]


def experts_per_rank(num_experts: int, ranks: int) -> int:
    if num_experts % ranks:
        raise ValueError(f"{ranks} ranks must divide num_experts ({num_experts})")
    return num_experts // ranks


class SpreadExperts(Experts):
    """Takes what `Experts` takes, of this rank's tokens; computes its experts for all ranks."""

    def __init__(
        self,
        gate_up_EDF: Tensor,
        down_EFD: Tensor,
        mesh: DeviceMesh,
        *,
        dispatch: Dispatch = "once",
        fp8: bool = False,
    ) -> None:
        """Of this rank's experts alone. `fp8`: rows leave as e4m3 with a scale each; results and
        gradients keep their type."""
        super().__init__(gate_up_EDF, down_EFD)
        self.group, self.ranks = mesh.get_group(), mesh.size()
        self.size = len(gate_up_EDF)
        self.dispatch, self.fp8 = dispatch, fp8
        self.serving = False  # this rank has no tokens of its own any more

    def forward(
        self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor, meanwhile: Meanwhile = None
    ) -> Tensor:
        """What the routed experts give and, computed while rows are on their way, `meanwhile`."""
        x_TD = x_TD.to(compute_dtype(x_TD))
        send = self.naive if self.dispatch == "naive" else self.once
        return send(x_TD, expert_ids_TK, weights_TK.float(), meanwhile)

    def naive(
        self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor, meanwhile: Meanwhile
    ) -> Tensor:
        experts = self.size * self.ranks
        ids = expert_ids_TK.reshape(-1)
        last = ids.masked_fill(ids == NO_EXPERT, experts)  # empty places after all others
        counts_E = torch.zeros(experts + 1, dtype=torch.long, device=ids.device)
        counts_E = counts_E.index_add(0, last, torch.ones_like(last))[:-1]
        sent, received, received_Re = self.agreed(counts_E.view(self.ranks, -1))
        sent_R, received_R = [sum(row) for row in sent], [sum(row) for row in received]
        order_N = last.argsort(stable=True)[: sum(sent_R)]
        token_N = order_N // expert_ids_TK.shape[1]

        exchange = Exchange(self.group, sent_R=sent_R, received_R=received_R, fp8=self.fp8)
        departed = exchange.depart(Taken.apply(x_TD, token_N))
        beside_TD = None if meanwhile is None else meanwhile(x_TD)
        (x_MD,) = exchange.arrive(departed)
        local = torch.arange(self.size, device=ids.device, dtype=torch.int16).repeat(self.ranks)
        local_M = local.repeat_interleave(received_Re.flatten(), output_size=len(x_MD))
        expert_C, row_C = local_M.sort(stable=True)
        y_MD = self.computed(x_MD, expert_C, row_C, torch.ones_like(row_C, dtype=torch.float32))
        y_ND = self.returned(exchange, y_MD)
        weight_N = weights_TK.reshape(-1).index_select(0, order_N)
        routed_TD = summed(y_ND.float() * weight_N.unsqueeze(-1), token_N, tokens=len(x_TD)).to(
            x_TD.dtype
        )
        return routed_TD if beside_TD is None else routed_TD + beside_TD

    def once(
        self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor, meanwhile: Meanwhile
    ) -> Tensor:
        tokens, top_k = expert_ids_TK.shape
        there_RTK = held_by(expert_ids_TK, size=self.size, ranks=self.ranks)
        goes_RT = there_RTK.any(-1)
        counts_R2 = torch.stack((goes_RT.sum(1), there_RTK.sum((1, 2))), dim=1)
        sent, received, _ = self.agreed(counts_R2)
        sent_R, received_R = [rows for rows, _ in sent], [rows for rows, _ in received]
        choices = sum(choices for _, choices in received)
        leaving_N = (~goes_RT).flatten().to(torch.uint8).argsort(stable=True)[: sum(sent_R)]
        rank_N, token_N = leaving_N // max(tokens, 1), leaving_N % max(tokens, 1)
        elsewhere_NK = ~there_RTK.flatten(0, 1)[leaving_N]
        local_NK = expert_ids_TK[token_N] - self.size * rank_N.unsqueeze(-1)
        local_NK = local_NK.masked_fill(elsewhere_NK, self.size)  # after all others
        weights_NK = weights_TK.index_select(0, token_N).masked_fill(elsewhere_NK, 0.0)

        exchange = Exchange(self.group, sent_R=sent_R, received_R=received_R, fp8=self.fp8)
        beside_row = torch.cat((weights_NK, local_NK.float()), dim=1)
        departed = exchange.depart(Taken.apply(x_TD, token_N), beside_row)
        beside_TD = None if meanwhile is None else meanwhile(x_TD)
        x_MD, beside_row = exchange.arrive(departed)
        weights_MK, local_MK = beside_row.chunk(2, dim=1)
        local = local_MK.detach().to(torch.int16).reshape(-1)
        expert_C, order_C = (column[:choices] for column in local.sort(stable=True))
        weight_C = weights_MK.reshape(-1).index_select(0, order_C)
        y_MD = self.computed(x_MD, expert_C, order_C // top_k, weight_C)
        routed_TD = summed(self.returned(exchange, y_MD).float(), token_N, tokens=len(x_TD)).to(
            x_TD.dtype
        )
        return routed_TD if beside_TD is None else routed_TD + beside_TD

    def agreed(self, counts_RC: Tensor) -> tuple[list[list[int]], list[list[int]], Tensor]:
        """(counts for every rank, counts from every rank, these on the device): one copy to the
        host. A column beside them says which ranks still have tokens of their own."""
        working_R1 = torch.full_like(counts_RC[:, :1], not self.serving)
        sent = torch.cat((counts_RC, working_R1), dim=1)
        received, work = all_to_all(sent, self.group, splits=([1] * self.ranks, [1] * self.ranks))
        wait(work, self.group)
        sent_rows, received_rows = torch.stack((sent, received)).tolist()
        working = [row.pop() for row in received_rows]
        self.all_serve = not any(working)
        return [row[:-1] for row in sent_rows], received_rows, received[:, :-1]

    def returned(self, exchange: Exchange, y_MD: Tensor) -> Tensor:
        """Every row back to where it came from."""
        sent_R, received_R = exchange.splits
        back = Exchange(self.group, sent_R=received_R, received_R=sent_R)
        (y_ND,) = back.arrive(back.depart(y_MD))
        return y_ND

    def computed(self, x_MD: Tensor, expert_C: Tensor, row_C: Tensor, weight_C: Tensor) -> Tensor:
        if len(row_C):
            return self.grouped(x_MD, expert_C, row_C, weight_C)
        # no rows, but all that has a gradient stays in the graph: its exchanges take every rank
        gate, up = (x_MD @ self.gate_up_EDF[0].to(x_MD.dtype)).chunk(2, dim=-1)
        hidden = F.silu(gate) * up * weight_C.sum().to(x_MD.dtype)
        return hidden @ self.down_EFD[0].to(x_MD.dtype)

    @torch.inference_mode()
    def serve(self, top_k: int) -> None:
        """One forward without tokens of this rank's own."""
        weight = self.gate_up_EDF
        x_TD = weight.new_empty((0, weight.shape[1]))
        ids_TK = torch.empty((0, top_k), dtype=torch.long, device=weight.device)
        self.serving = True
        try:
            self.forward(x_TD, ids_TK, torch.empty((0, top_k), device=weight.device))
        finally:
            self.serving = False


def serve(model: nn.Module, *, top_k: int) -> None:
    """Compute for the ranks that still have text, until every rank has come here.

    Each rank calls it after its last forward: ranks need not run as many. Without gradients.
    """
    layers = [module for module in model.modules() if isinstance(module, SpreadExperts)]
    while True:
        for layer in layers:
            layer.serve(top_k)
            if layer.all_serve:  # nobody began another forward
                return


class Taken(torch.autograd.Function):
    """Rows of tokens. Their gradients are summed in float32: in bfloat16 it is slow and coarse."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, token_N: Tensor) -> Tensor:
        ctx.save_for_backward(token_N)
        ctx.tokens = len(x_TD)
        return x_TD.index_select(0, token_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_ND: Tensor) -> tuple[Tensor, None]:
        sum_TD = summed(gradient_ND.float(), *ctx.saved_tensors, tokens=ctx.tokens)
        return sum_TD.to(gradient_ND.dtype), None


def summed(rows_ND: Tensor, token_N: Tensor, *, tokens: int) -> Tensor:
    """Rows added to their tokens."""
    return rows_ND.new_zeros((tokens, rows_ND.shape[1])).index_add(0, token_N, rows_ND)


def held_by(expert_ids_TK: Tensor, *, size: int, ranks: int) -> Tensor:
    """Which choices each rank computes [R, T, K], ranks of `size` consecutive experts."""
    rank_R = torch.arange(ranks, device=expert_ids_TK.device)
    return expert_ids_TK.div(size, rounding_mode="floor") == rank_R[:, None, None]


class Traffic(NamedTuple):
    """Bytes over the link for the tokens of one rank, there and back."""

    naive: int
    once: int


def dispatch_bytes(
    expert_ids_TK: Tensor,
    *,
    num_experts: int,
    rank: int,
    ranks: int,
    dim: int,
    itemsize: int,
    fp8: bool = False,
) -> Traffic:
    """Of a forward; what stays on `rank` costs nothing. Without the counts agreed beforehand, 8
    bytes an expert (naive) or 24 a rank (once)."""
    size = experts_per_rank(num_experts, ranks)
    there_RTK = held_by(expert_ids_TK, size=size, ranks=ranks)
    there_RTK[rank] = False
    row_bytes = (dim + SCALE_BYTES if fp8 else dim * itemsize) + dim * itemsize
    once = row_bytes + CHOICE_BYTES * expert_ids_TK.shape[1]
    return Traffic(int(there_RTK.sum()) * row_bytes, int(there_RTK.any(-1).sum()) * once)
