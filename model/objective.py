"""What training minimizes: cross-entropy plus the balance losses of every MoE layer.

B = sequences, S = positions, T = tokens, E = routed experts, K = experts per token, L = MoE layers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.losses import device_balance, expert_balance, load_and_probability, tokens_per_expert
from model.router import HashRouter, Router
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
        gates = [moe.gate for moe in self.model.moe_layers()]
        layers = [self.layer_balance(*pair, keep_T) for pair in zip(gates, routed, strict=True)]
        balances, tokens_LE = zip(*layers, strict=True)
        balance = torch.stack(balances).sum()
        return loss + balance, balance.detach(), tokens, torch.stack(tokens_LE)

    def layer_balance(self, gate: Router, decided: Routed, keep_T: Tensor) -> tuple[Tensor, Tensor]:
        """(weighted balance loss, tokens_E) of one layer, over the tokens of this process."""
        config = self.model.config
        tokens_E = tokens_per_expert(decided.expert_ids_TK, keep_T, config.num_experts)
        if isinstance(gate, HashRouter) or decided.router_logits_TE is None:
            return torch.zeros((), device=tokens_E.device), tokens_E
        balanced_TK = decided.expert_ids_TK[:, : gate.balanced_choices]
        balanced_E = tokens_per_expert(balanced_TK, keep_T, config.num_experts)
        load_E, probability_E = load_and_probability(
            gate.probabilities(decided.router_logits_TE), balanced_E, keep_T, balanced_TK.shape[1]
        )
        weighted = config.expert_loss_weight * expert_balance(load_E, probability_E)
        if config.device_loss_weight:
            weighted = weighted + config.device_loss_weight * device_balance(
                load_E, probability_E, groups=config.expert_groups
            )
        return weighted, tokens_E
