"""Which experts a token goes to. Every gate gives (router_logits_TE, weights_TK, expert_ids_TK).

B = sequences, S = positions, T = B * S tokens, D = model dim, E = routed experts, K = most experts
per token, G = expert groups, V = vocabulary.
"""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.routing import NO_EXPERT
from model.config import ModelConfig
from model.layers import HAS_TRITON, KeyValueCache

if HAS_TRITON:
    from model.kernels.gpu_routing import GATED, STEP, fused_gate

SUB_GATES = 4  # an expert has so many in the DSR


class SoftmaxRouter(nn.Module):
    """DeepSeekMoE's gate: softmax over all routed experts, top-k, weights not renormalized.

    The choice, but not the weight, adds `bias_E` (loss-free balancing, arXiv 2408.15664) and may be
    limited to the groups of a token's best experts (device-limited routing, arXiv 2405.04434).
    """

    family = "DeepSeekMoE"
    scoring = "softmax"  # or "sigmoid": an expert's score is of its own logit alone
    bias_E: Tensor
    closed_E: Tensor | None  # never chosen: pruned; the scores of the others stay as trained
    weigh = None  # read from what the gate gives
    renormalizes = False  # weights of the chosen experts made to sum to 1
    balanced_choices: int | None = None  # the first so many count for the balance loss; None: all

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.empty(config.num_experts, config.hidden_dim))
        self.top_k = config.top_k
        self.groups = config.expert_groups
        self.groups_per_token = config.groups_per_token
        self.capacity = config.expert_capacity  # choices an expert takes of one sequence
        self.biased = config.balancing == "bias"
        self.register_buffer("bias_E", torch.zeros(config.num_experts), persistent=self.biased)
        self.register_buffer("closed_E", None, persistent=False)

    @property
    def k_range(self) -> tuple[int, int]:
        """(fewest, most) experts of a token."""
        return self.top_k, self.top_k

    def router_logits(self, x_TD: Tensor) -> Tensor:
        with torch.autocast(x_TD.device.type, enabled=False):
            return F.linear(x_TD.float(), self.weight_ED.float())

    def scores(self, router_logits_TE: Tensor) -> Tensor:
        if self.scoring == "sigmoid":
            return torch.sigmoid(router_logits_TE)
        return F.softmax(router_logits_TE, dim=-1)

    def probabilities(self, router_logits_TE: Tensor) -> Tensor:
        """What the balance loss spreads: scores that sum to 1."""
        return self.scores(router_logits_TE)

    def group_scores(self, preference_TGe: Tensor) -> Tensor:
        """A group is as good as its best expert (arXiv 2405.04434, 2.1.2)."""
        return preference_TGe.amax(-1)

    def preference(self, scores_TE: Tensor) -> Tensor:
        """By what experts are chosen, the largest first; -inf where a token may not go."""
        preference_TE = scores_TE + self.bias_E if self.biased else scores_TE
        if self.closed_E is not None:
            preference_TE = preference_TE.masked_fill(self.closed_E, -torch.inf)
        if self.groups_per_token is None:
            return preference_TE
        preference_TGe = preference_TE.unflatten(-1, (self.groups, -1))
        best_TM = self.group_scores(preference_TGe).topk(self.groups_per_token, dim=-1).indices
        closed_TG = torch.ones_like(preference_TGe[..., 0], dtype=torch.bool)
        closed_TG = closed_TG.scatter(-1, best_TM, False)
        return preference_TGe.masked_fill(closed_TG.unsqueeze(-1), -torch.inf).flatten(-2)

    def explains(
        self, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor
    ) -> Tensor | None:
        return None

    @property
    def prefers_scores(self) -> bool:
        """Whether the K largest scores are chosen, without a bias and of any group."""
        return not self.biased and self.closed_E is None and self.groups_per_token is None

    def alike(self, other: object) -> bool:
        return type(other) is type(self) and self.prefers_scores and other.prefers_scores

    def stacked(self, rules: Sequence[object]) -> Self:
        return self

    def kept(self, scores_TK: Tensor, *, min_k: Tensor | int, max_k: Tensor | int) -> Tensor:
        """Which of K preferred experts, the best first, a token takes: here all of them."""
        return torch.ones_like(scores_TK, dtype=torch.bool)

    def forward(
        self, x_TD: Tensor, token_ids_BS: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits in float32; the chosen expert with the largest score first."""
        if self.fusible(x_TD):
            router_logits_TE, weights_TK, chosen_TK = fused_gate(
                x_TD, self.weight_ED, top_k=self.top_k, sigmoid=self.scoring == "sigmoid"
            )
            return router_logits_TE, self.normalized(weights_TK), chosen_TK
        router_logits_TE = self.router_logits(x_TD)
        scores_TE = self.scores(router_logits_TE)
        chosen_TK = self.preference(scores_TE).topk(self.top_k, dim=-1).indices
        weights_TK = scores_TE.gather(-1, chosen_TK)
        if self.biased:
            weights_TK, order_TK = weights_TK.sort(dim=-1, descending=True)
            chosen_TK = chosen_TK.gather(-1, order_TK)
        return router_logits_TE, self.normalized(weights_TK), chosen_TK

    def normalized(self, weights_TK: Tensor) -> Tensor:
        return weights_TK / weights_TK.sum(-1, keepdim=True) if self.renormalizes else weights_TK

    def fusible(self, x_TD: Tensor) -> bool:
        """Whether one kernel can do it all: by scores alone, in bfloat16, without gradients."""
        return (
            HAS_TRITON
            and x_TD.is_cuda
            and x_TD.dtype == torch.bfloat16
            and x_TD.shape[-1] % STEP == 0
            and len(self.weight_ED) <= GATED
            and not torch.is_grad_enabled()
            and self.prefers_scores
            and len(self.weight_ED) == len(self.bias_E)  # no sub-gates
        )

    @torch.no_grad()
    def update_bias(self, tokens_E: Tensor, *, rate: float) -> None:
        """One step of loss-free balancing: towards the experts below the mean load."""
        self.bias_E += rate * torch.sign(tokens_E.float().mean() - tokens_E.float())


class SigmoidRouter(SoftmaxRouter):
    """DeepSeek-V3's gate (arXiv 2412.19437, 2.1.2): experts scored one by one, weights sum to 1."""

    family = "DeepSeek-V3 gate"
    scoring = "sigmoid"
    renormalizes = True

    def probabilities(self, router_logits_TE: Tensor) -> Tensor:
        scores_TE = self.scores(router_logits_TE)
        return scores_TE / scores_TE.sum(-1, keepdim=True)

    def group_scores(self, preference_TGe: Tensor) -> Tensor:
        """A group is as good as its K / M best experts together, M groups allowed."""
        assert self.groups_per_token is not None
        best = max(1, self.top_k // self.groups_per_token)
        return preference_TGe.topk(min(best, preference_TGe.shape[-1]), dim=-1).values.sum(-1)


class GShardRouter(SoftmaxRouter):
    """GShard's top-2 gate (arXiv 2006.16668, algorithm 1): two weights that sum to 1, a loss over
    first choices. The second expert is always asked, never at random: models that are compared
    activate as much for every token."""

    family = "GShard"
    renormalizes = True
    balanced_choices = 1


class SwitchRouter(SoftmaxRouter):
    """Switch's top-1 gate (arXiv 2101.03961, 2.2): the weight is the probability itself."""

    family = "Switch"


class DynamicRouter(SoftmaxRouter):
    """The dynamic specialized router (DSR): four sub-gates an expert, as many experts as needed.

    A softmax over the sub-gates of all experts together, summed by expert: the same as a softmax
    over experts of the logsumexp of their four logits, which is what it gives as logits. A token
    goes to the smallest set of experts whose weights reach `top_p`, of `min_k` to `max_k`; the
    rest of its K = top_k places are NO_EXPERT with weight 0. Weights are not renormalized.
    """

    family = "DSR"
    min_k: Tensor
    max_k: Tensor
    top_p: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        rows = SUB_GATES * config.num_experts
        self.weight_ED = nn.Parameter(torch.empty(rows, config.hidden_dim))
        # tensors: a stage of the training that changes them compiles nothing anew
        self.register_buffer("min_k", torch.tensor(config.min_k), persistent=False)
        self.register_buffer("max_k", torch.tensor(config.top_k), persistent=False)
        self.register_buffer("top_p", torch.tensor(config.top_p), persistent=False)

    @property
    def k_range(self) -> tuple[int, int]:
        return int(self.min_k), int(self.max_k)

    def limit(self, *, min_k: int, max_k: int, top_p: float | None) -> None:
        """From now on; a `top_p` of None stays as it is."""
        self.min_k.fill_(min_k)
        self.max_k.fill_(max_k)
        if top_p is not None:
            self.top_p.fill_(top_p)

    def router_logits(self, x_TD: Tensor) -> Tensor:
        return super().router_logits(x_TD).unflatten(-1, (-1, SUB_GATES)).logsumexp(-1)

    def kept(self, scores_TK: Tensor, *, min_k: Tensor | int, max_k: Tensor | int) -> Tensor:
        """Those in the smallest set that reaches top_p."""
        before_TK = scores_TK.cumsum(-1) - scores_TK
        rank_K = torch.arange(scores_TK.shape[-1], device=scores_TK.device)
        return ((before_TK < self.top_p) | (rank_K < min_k)) & (rank_K < max_k)

    def forward(
        self, x_TD: Tensor, token_ids_BS: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        router_logits_TE, weights_TK, chosen_TK = super().forward(x_TD)
        kept_TK = self.kept(weights_TK, min_k=self.min_k, max_k=self.max_k)
        weights_TK = weights_TK.masked_fill(~kept_TK, 0.0)
        return router_logits_TE, weights_TK, chosen_TK.masked_fill(~kept_TK, NO_EXPERT)


class HashRouter(nn.Module):
    """Hash layers (arXiv 2106.04426): the token id alone decides, by a fixed random table that
    gives every expert as many ids. Weight 1, no logits, nothing to learn."""

    family = "Hash"
    scoring = "hash"
    k_range = (1, 1)
    expert_of_token_V: Tensor
    closed_E: Tensor | None = None  # none is: the config refuses it

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.capacity = config.expert_capacity
        order = torch.Generator("cpu").manual_seed(0)
        table_V = torch.randperm(config.vocab_size, generator=order, device="cpu")
        self.register_buffer("expert_of_token_V", table_V % config.num_experts, persistent=False)

    def forward(self, x_TD: Tensor, token_ids_BS: Tensor) -> tuple[None, Tensor, Tensor]:
        expert_ids_TK = self.expert_of_token_V[token_ids_BS.reshape(-1, 1)]
        return None, torch.ones_like(expert_ids_TK, dtype=torch.float32), expert_ids_TK


Router = SoftmaxRouter | HashRouter
LEARNED = {
    "softmax": SoftmaxRouter,
    "sigmoid": SigmoidRouter,
    "gshard": GShardRouter,
    "switch": SwitchRouter,
    "dsr": DynamicRouter,
}


def new_router(config: ModelConfig) -> Router:
    return HashRouter(config) if config.router == "hash" else LEARNED[config.router](config)


class Admission(nn.Module):
    """Between a gate and experts that take `capacity` choices of one sequence each.

    Whoever wants to know what was refused hooks it: a weight of 0 does not say so.
    """

    def __init__(self, capacity: int, *, num_experts: int) -> None:
        super().__init__()
        self.capacity, self.num_experts = capacity, num_experts

    def forward(self, expert_ids_TK: Tensor, sequences: int, cache: KeyValueCache | None) -> Tensor:
        """Whether each choice finds room; the cache remembers what came before."""
        before_BE = cache.chosen_BE if cache else None
        if before_BE is None:
            before_BE = expert_ids_TK.new_zeros((sequences, self.num_experts), dtype=torch.int32)
        kept_TK, chosen_BE = admitted(expert_ids_TK, before_BE, capacity=self.capacity)
        if cache is not None:
            cache.chosen_BE = chosen_BE
        return kept_TK


def admitted(expert_ids_TK: Tensor, before_BE: Tensor, *, capacity: int) -> tuple[Tensor, Tensor]:
    """(which choices find room, the choices of every sequence so far): first come, first served.

    An expert takes `capacity` choices of one sequence. Tokens come in order of position, so what is
    refused depends on nothing that follows, and on no other sequence.
    """
    sequences, num_experts = before_BE.shape
    ids_BC = expert_ids_TK.reshape(sequences, -1)
    asked_BCE = F.one_hot(ids_BC, num_experts).to(torch.int32).cumsum(1) + before_BE.unsqueeze(1)
    place_BC = asked_BCE.gather(-1, ids_BC.unsqueeze(-1)).squeeze(-1)
    return (place_BC <= capacity).view_as(expert_ids_TK), asked_BCE[:, -1]
