"""What training minimizes: cross-entropy plus the balance losses of every MoE layer.

B = sequences, S = positions, T = tokens, E = routed experts, K = experts per token, L = MoE layers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.losses import device_balance, expert_balance, load_and_probability, tokens_per_expert
from model.transformer import Routed, Transformer


class Objective(nn.Module):
    """The whole forward pass of a training step as one module, so that it compiles as one."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch_BS: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of token ids [B, S + 1] with -1 as padding: (cross-entropy in nats per token plus
        balance losses, the balance losses alone, tokens, tokens_LE). Padding counts nowhere."""
        inputs_BS, targets_BS = batch_BS[:, :-1].clamp(min=0).long(), batch_BS[:, 1:].long()
        on_gpu = inputs_BS.device.type == "cuda"  # bfloat16 is slower than float32 on most CPUs
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=on_gpu):
            x_BSD, routed = self.model.hidden(inputs_BS)
            logits_TV = self.model.head(x_BSD).flatten(0, 1)
        loss = F.cross_entropy(logits_TV.float(), targets_BS.flatten(), ignore_index=-1)
        keep_T = (batch_BS[:, :-1] >= 0).flatten()
        tokens = (targets_BS >= 0).sum()
        if not routed:
            none = torch.zeros((), device=loss.device)
            return loss, none, tokens, none
        balances, tokens_LE = zip(*(self.layer_balance(r, keep_T) for r in routed), strict=True)
        balance = torch.stack(balances).sum()
        return loss + balance, balance.detach(), tokens, torch.stack(tokens_LE)

    def layer_balance(self, decided: Routed, keep_T: Tensor) -> tuple[Tensor, Tensor]:
        """(weighted balance loss, tokens_E) of one layer, over the tokens of this process."""
        config = self.model.config
        tokens_E = tokens_per_expert(decided.expert_ids_TK, keep_T, config.num_experts)
        scores_TE = F.softmax(decided.router_logits_TE, dim=-1)
        load_E, probability_E = load_and_probability(scores_TE, tokens_E, keep_T, config.top_k)
        weighted = config.expert_loss_weight * expert_balance(load_E, probability_E)
        if config.device_loss_weight:
            weighted = weighted + config.device_loss_weight * device_balance(
                load_E, probability_E, groups=config.expert_groups
            )
        return weighted, tokens_E
