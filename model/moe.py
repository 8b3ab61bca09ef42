"""The MoE layer: shared experts for every token, a few routed ones by choice.

B = sequences, S = positions, T = B * S tokens, D = model dim, E = routed experts, K = most experts
per token, C = choices, F = expert width, P = parts of a neuron. Hooks attach to `gate`, `admission`
and `experts`: `experts` receives what is executed; NO_EXPERT is a place left empty. Where the layer
has a capacity, `admission` says which choices found their expert full; these weigh 0.

Where experts were pruned, several ids may run the same weights: gate, trace and pages keep all E
ids, `experts` holds S <= E stored experts. So layers that keep different numbers need no other
shape of gate or trace, what a gate chooses stays comparable with the model it comes from, and a
token that chooses two ids of one group runs its weights with both mixing weights. A gate's row that
stays costs D parameters, its expert 3 D F.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model.config import CLOSED, ModelConfig
from model.kernels import cpu_experts
from model.kernels.precision import compute_dtype, product_dtype
from model.layers import HAS_TRITON, KeyValueCache, SwiGLU
from model.losses import by_expert
from model.quickest import Shape, Way, quickest_elsewhere, quickest_on_cpu
from model.router import Admission, Router, SoftmaxRouter, new_router
from model.watching import Watcher, watch_contract

if HAS_TRITON:
    from model.kernels import gpu_decode, gpu_fused
    from model.kernels.gpu_experts import RoutedExperts


class Experts(nn.Module):
    """E SwiGLU experts as two stacked weights.

    Where a token chooses few of them, tokens are sorted by expert, then multiplied, on a CPU group
    by group; where it chooses many, every expert computes and what was not chosen weighs 0. All
    give the same.
    `leaders`: whose weights each id runs, see ModelConfig; an id that is CLOSED adds nothing.
    """

    place_E: Tensor | None  # of each id among the stored experts; S for a closed one

    def __init__(
        self, gate_up_EDF: Tensor, down_EFD: Tensor, *, leaders: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.num_ids = len(down_EFD) if leaders is None else len(leaders)
        self.register_buffer("place_E", None, persistent=False)
        if leaders is not None:
            place = {leader: place for place, leader in enumerate(standing(leaders))}
            self.place_E = torch.tensor([place.get(leader, len(place)) for leader in leaders])
        self.gate_up_EDF = nn.Parameter(gate_up_EDF)
        self.down_EFD = nn.Parameter(down_EFD)

    def lay_out_as_linear(self) -> None:
        """The inputs of a product beside each other in memory, as in transformers: products are
        rounded by how they lie."""
        for weights in (self.gate_up_EDF, self.down_EFD):
            weights.data = weights.data.mT.contiguous().mT

    def forward(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        way = self.quickest(x_TD, expert_ids_TK)
        if way is Way.GROUPS:
            return self.on_cpu(x_TD, expert_ids_TK, weights_TK)
        if way is Way.ALL:
            return self.all_of_them(x_TD, expert_ids_TK, weights_TK)
        return self.gathered(x_TD, expert_ids_TK, weights_TK)

    @property
    def sizes(self) -> torch.Size:
        """(stored experts, width, model dim)."""
        return self.down_EFD.shape

    def quickest(self, x_TD: Tensor, expert_ids_TK: Tensor) -> Way:
        dtype = compute_dtype(x_TD)
        if product_dtype(x_TD) != dtype:
            return Way.GROUPS
        shape = Shape(*expert_ids_TK.shape, *self.sizes)
        launched = not torch.compiler.is_compiling()
        if x_TD.is_cpu and launched:
            return quickest_on_cpu(shape, dtype, differentiable=torch.is_grad_enabled())
        if x_TD.is_cuda and decodes(expert_ids_TK):
            return Way.SORTED
        return quickest_elsewhere(shape, dtype, launched=launched)

    def on_cpu(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        given = x_TD, self.places(expert_ids_TK), weights_TK
        experts = self.gate_up_EDF, self.down_EFD
        sum_TD = cpu_experts.routed(*given, *experts, dtype=product_dtype(x_TD))
        return sum_TD.to(compute_dtype(x_TD))

    def places(self, expert_ids_TK: Tensor) -> Tensor:
        """Among the stored experts; -1 for an empty place and for a closed expert."""
        if self.place_E is None:
            return expert_ids_TK
        place_TK = self.place_E[expert_ids_TK.clamp(min=0)]
        adds_nothing_TK = (expert_ids_TK < 0) | (place_TK == self.sizes[0])
        return place_TK.masked_fill(adds_nothing_TK, -1)

    def gathered(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        expert_ids_TK, weights_TK = self.stored(expert_ids_TK, weights_TK)
        dtype = compute_dtype(x_TD)
        if HAS_TRITON and x_TD.is_cuda:
            return self.on_gpu(x_TD, expert_ids_TK, weights_TK).to(dtype)
        # int16: half the passes of a radix sort
        expert_C, order = expert_ids_TK.reshape(-1).to(torch.int16).sort(stable=True)
        rows_CD = self.rows(x_TD, order // expert_ids_TK.shape[1])
        rows_CD = self.products(rows_CD, expert_C, weights_TK.reshape(-1)[order])
        places = torch.arange(len(order), device=order.device)
        place_TK = torch.empty_like(order).scatter(0, order, places).view(expert_ids_TK.shape)
        return F.embedding_bag(place_TK, rows_CD.float(), mode="sum").to(dtype)

    def on_gpu(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        """Ids in 0 ... E - 1."""
        dtype = compute_dtype(x_TD)
        experts = self.gate_up_EDF.to(dtype), self.down_EFD.to(dtype)
        if decodes(expert_ids_TK):
            return gpu_decode.decoded(x_TD.to(dtype), expert_ids_TK, weights_TK, *experts)
        inputs = x_TD, expert_ids_TK, weights_TK, *experts
        if gpu_fused.quicker(expert_ids_TK.numel(), self.sizes, dtype):
            return gpu_fused.FusedExperts.apply(*inputs, torch.is_grad_enabled())
        return RoutedExperts.apply(*inputs)

    def rows(self, x_TD: Tensor, token_C: Tensor) -> Tensor:
        """Gathered in float32, in which their gradients are summed: in bfloat16 that is slow and
        coarse."""
        if not torch.is_grad_enabled():
            return x_TD.to(compute_dtype(x_TD)).index_select(0, token_C)
        return x_TD.float().index_select(0, token_C).to(compute_dtype(x_TD))

    def stored(self, expert_ids_TK: Tensor, weights_TK: Tensor) -> tuple[Tensor, Tensor]:
        """(whose weights to run, with what weight); an empty place: the first, with 0."""
        expert_ids_TK = expert_ids_TK.clamp(min=0)
        if self.place_E is None:
            return expert_ids_TK, weights_TK
        num_experts = len(self.down_EFD)
        place_TK = self.place_E[expert_ids_TK]
        weights_TK = weights_TK.masked_fill(place_TK == num_experts, 0)
        return place_TK.clamp(max=num_experts - 1), weights_TK

    def grouped(self, x_TD: Tensor, expert_C: Tensor, token_C: Tensor, weight_C: Tensor) -> Tensor:
        """What C choices, sorted by expert (int16), add to their tokens, as many as there are."""
        rows_CD = self.products(self.rows(x_TD, token_C), expert_C, weight_C)
        sum_TD = torch.zeros_like(x_TD, dtype=torch.float32).index_add(0, token_C, rows_CD.float())
        return sum_TD.to(rows_CD.dtype)

    def products(self, rows_CD: Tensor, expert_C: Tensor, weight_C: Tensor) -> Tensor:
        """Each row through its expert and weighted: without a gradient afterwards, rounded as in
        transformers; with one before, where less is to be kept."""
        # offs[e] is where expert e's rows end; grouped_mm wants int32
        ends = torch.arange(self.gate_up_EDF.shape[0], device=rows_CD.device, dtype=torch.int16)
        offs = torch.searchsorted(expert_C, ends, right=True).to(torch.int32)
        dtype = rows_CD.dtype
        gate, up = F.grouped_mm(rows_CD, self.gate_up_EDF.to(dtype), offs=offs).chunk(2, dim=-1)
        hidden, weight_C1 = F.silu(gate) * up, weight_C.to(dtype).unsqueeze(-1)
        if torch.is_grad_enabled():
            return F.grouped_mm(hidden * weight_C1, self.down_EFD.to(dtype), offs=offs)
        return F.grouped_mm(hidden, self.down_EFD.to(dtype), offs=offs).mul_(weight_C1)

    def all_of_them(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        num_experts, dim, _ = self.gate_up_EDF.shape
        dtype = compute_dtype(x_TD)
        weights_TE = by_expert(weights_TK, expert_ids_TK, self.num_ids).to(dtype)
        if self.place_E is not None:
            summed = weights_TE.new_zeros(len(weights_TE), num_experts + 1)
            weights_TE = summed.index_add(1, self.place_E, weights_TE)[:, :num_experts]
        gate_up = self.gate_up_EDF.to(dtype).transpose(0, 1).reshape(dim, -1)
        gate_up_TEF = (x_TD.to(dtype) @ gate_up).unflatten(-1, (num_experts, -1))
        gate_TEF, up_TEF = gate_up_TEF.chunk(2, dim=-1)
        hidden_TEF = F.silu(gate_TEF) * up_TEF * weights_TE.unsqueeze(-1)
        return hidden_TEF.flatten(-2) @ self.down_EFD.to(dtype).flatten(0, 1)


def decodes(expert_ids_TK: Tensor) -> bool:
    return HAS_TRITON and not torch.is_grad_enabled() and gpu_decode.few(expert_ids_TK)


def standing(leaders: tuple[int, ...]) -> list[int]:
    """Whose weights are stored, in their order."""
    return sorted(set(leaders) - {CLOSED})


def new_experts(
    dim: int, inner_dim: int, *, num_experts: int, leaders: tuple[int, ...] | None = None
) -> Experts:
    """Their weights are still to be set."""
    stored = num_experts if leaders is None else len(standing(leaders))
    gate_up_EDF = torch.empty(stored, dim, 2 * inner_dim)
    return Experts(gate_up_EDF, torch.empty(stored, inner_dim, dim), leaders=leaders)


class MoE(nn.Module):
    takes_choices = True

    def __init__(
        self, gate: Router, experts: Experts, shared_experts: SwiGLU | None, *, num_experts: int
    ) -> None:
        super().__init__()
        self.gate = gate
        self.experts = experts
        self.shared_experts = shared_experts
        self.num_experts = num_experts
        self.admission: Admission | None = None
        if gate.capacity is not None:
            self.admission = Admission(gate.capacity, num_experts=num_experts)

    @property
    def k_range(self) -> tuple[int, int]:
        return self.gate.k_range

    @property
    def rule(self) -> SoftmaxRouter | None:
        return self.gate if isinstance(self.gate, SoftmaxRouter) else None

    def watch(self, watcher: Watcher) -> list[RemovableHandle]:
        return watch_contract(self, watcher)

    def neurons(self) -> np.ndarray:
        """Weights of the stored experts [S, F, P, D]: gate row, up row, down column."""
        gate_up_EDF, down_EFD = self.experts.gate_up_EDF.detach(), self.experts.down_EFD.detach()
        gate_EDF, up_EDF = gate_up_EDF.float().cpu().chunk(2, dim=-1)
        parts = [gate_EDF.transpose(1, 2), up_EDF.transpose(1, 2), down_EFD.float().cpu()]
        return torch.stack(parts, dim=2).numpy()

    def forward(
        self, x_BSD: Tensor, token_ids_BS: Tensor, cache: KeyValueCache | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """(output_BSD, router_logits_TE, the expert_ids_TK chosen, those refused included)."""
        x_TD = x_BSD.reshape(-1, x_BSD.shape[-1])
        router_logits_TE, weights_TK, expert_ids_TK = self.gate(x_TD, token_ids_BS)
        if self.admission is not None:
            kept_TK = self.admission(expert_ids_TK, len(x_BSD), cache)
            weights_TK = weights_TK.masked_fill(~kept_TK, 0.0)
        output_TD = self.executed(x_TD, expert_ids_TK, weights_TK)
        return output_TD.view_as(x_BSD), router_logits_TE, expert_ids_TK

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        output_TD = self.experts(x_TD, expert_ids_TK, weights_TK)
        if self.shared_experts is not None:
            output_TD = output_TD + self.shared_experts(x_TD)
        return output_TD


def new_moe(config: ModelConfig, *, leaders: tuple[int, ...] | None = None) -> MoE:
    """A layer whose weights are still to be set."""
    dim, width, num_experts = config.hidden_dim, config.expert_dim, config.num_experts
    gate = new_router(config)
    if leaders is not None and CLOSED in leaders:
        gate.closed_E = torch.tensor([leader == CLOSED for leader in leaders])
    experts = new_experts(dim, width, num_experts=num_experts, leaders=leaders)
    shared = config.num_shared_experts
    shared_experts = SwiGLU(dim, shared * width) if shared else None
    return MoE(gate, experts, shared_experts, num_experts=num_experts)
