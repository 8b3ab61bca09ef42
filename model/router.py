"""Which experts a token goes to.

T = tokens, D = model dim, E = routed experts, K = experts per token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SoftmaxRouter(nn.Module):
    """DeepSeekMoE's gate: softmax over all routed experts, top-k, weights not renormalized.

    With `bias_balancing` the choice, but not the weight, adds `bias_E` to the scores
    (loss-free balancing, arXiv 2408.15664).
    """

    bias_E: Tensor

    def __init__(self, dim: int, *, num_experts: int, top_k: int, bias_balancing: bool) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.empty(num_experts, dim))
        self.top_k = top_k
        self.bias_balancing = bias_balancing
        self.register_buffer("bias_E", torch.zeros(num_experts), persistent=bias_balancing)

    def scores(self, router_logits_TE: Tensor) -> Tensor:
        return F.softmax(router_logits_TE, dim=-1)

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(router_logits_TE in float32, weights_TK, expert_ids_TK with the largest score first)."""
        with torch.autocast(x_TD.device.type, enabled=False):
            router_logits_TE = F.linear(x_TD.float(), self.weight_ED.float())
        scores_TE = self.scores(router_logits_TE)
        if not self.bias_balancing:
            weights_TK, expert_ids_TK = scores_TE.topk(self.top_k, dim=-1)
            return router_logits_TE, weights_TK, expert_ids_TK
        chosen_TK = (scores_TE + self.bias_E).topk(self.top_k, dim=-1).indices
        weights_TK, order_TK = scores_TE.gather(-1, chosen_TK).sort(dim=-1, descending=True)
        return router_logits_TE, weights_TK, chosen_TK.gather(-1, order_TK)

    @torch.no_grad()
    def update_bias(self, tokens_E: Tensor, *, rate: float) -> None:
        """One step of loss-free balancing: towards the experts below the mean load."""
        self.bias_E += rate * torch.sign(tokens_E.float().mean() - tokens_E.float())
