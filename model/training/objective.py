"""What training minimizes: cross-entropy plus the balance losses of every MoE layer.

B = sequences, S = positions, T = tokens, D = model dim, E = routed experts, K = experts per token,
L = MoE layers, V = vocabulary.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.router import HashRouter
from model.training.trainable import TrainableModel
from model.transformer import Transformer


class Losses(NamedTuple):
    """Of one batch; padding counts nowhere."""

    total: Tensor  # cross-entropy in nats per token plus the balance losses
    balance: Tensor  # the balance losses alone, detached
    nats_B: Tensor  # of every sequence, detached
    targets: Tensor  # tokens predicted
    inputs: Tensor  # tokens routed
    tokens_LE: Tensor  # choices; without dimensions in a dense model


class Objective(nn.Module):
    """The whole forward pass of a training step as one module, so that it compiles as one."""

    def __init__(self, model: TrainableModel) -> None:
        super().__init__()
        self.model = model
        self.module = model.module  # whose parameters are those of this module

    def forward(self, batch_BS: Tensor, perturbation_BSD: Tensor | None = None) -> Losses:
        """`batch_BS`: token ids [B, S + 1], -1 is padding. The other: see TrainableModel."""
        inputs_BS, targets_BS = batch_BS[:, :-1].clamp(min=0).long(), batch_BS[:, 1:].long()
        with autocast(inputs_BS):
            logits_BSV, routed = self.model.predicted(inputs_BS, perturbation_BSD)
        nats_T = self.nats(logits_BSV.flatten(0, 1), targets_BS.flatten())
        keep_T = (batch_BS[:, :-1] >= 0).flatten()
        targets = (targets_BS >= 0).sum()
        loss = nats_T.sum() / targets
        balance, tokens_LE = self.model.balance(routed, keep_T)
        return Losses(
            total=loss + balance,
            balance=balance.detach(),
            nats_B=nats_T.detach().view(targets_BS.shape).sum(-1),
            targets=targets,
            inputs=keep_T.sum(),
            tokens_LE=tokens_LE,
        )

    def nats(self, logits_TV: Tensor, targets_T: Tensor) -> Tensor:
        """Of every token [T], 0 for padding."""
        return F.cross_entropy(logits_TV.float(), targets_T, ignore_index=-1, reduction="none")


def compiled(objective: Objective, *, by_block: bool) -> nn.Module:
    """As one, or block by block."""
    if not by_block:
        return cast(nn.Module, torch.compile(objective))
    torch._dynamo.config.recompile_limit = 64
    objective.model.compile_blocks()
    objective.nats = torch.compile(objective.nats, dynamic=False)  # type: ignore[method-assign]
    return objective


class Consistency(nn.Module):
    """How far a small change of the embeddings carries outputs and routing: nats per token.

    KL(clean || perturbed) of the next token, plus that of the experts, mean over MoE layers. Only
    the perturbed side learns (as in virtual adversarial training, arXiv 1704.03976).
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch_BS: Tensor, perturbation_BSD: Tensor) -> Tensor:
        inputs_BS = batch_BS[:, :-1].clamp(min=0).long()
        with torch.no_grad():
            clean_TV, clean_routing = self.distributions(inputs_BS, None)
        moved_TV, moved_routing = self.distributions(inputs_BS, perturbation_BSD)
        keep_T = (batch_BS[:, :-1] >= 0).flatten()
        loss = divergence(clean_TV, moved_TV, keep_T)
        layers = [
            divergence(clean_TE, moved_TE, keep_T)
            for clean_TE, moved_TE in zip(clean_routing, moved_routing, strict=True)
        ]
        return loss + torch.stack(layers).mean() if layers else loss

    def distributions(
        self, inputs_BS: Tensor, perturbation_BSD: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Log-probabilities of the next token [T, V] and of the experts [T, E] of every layer."""
        with autocast(inputs_BS):
            x_BSD, routed = self.model.hidden(inputs_BS, perturbation_BSD=perturbation_BSD)
            logits_TV = self.model.head(x_BSD).flatten(0, 1)
        scored = [
            gate.probabilities(decided.router_logits_TE).clamp_min(1e-20).log()
            for gate, decided in zip(
                [moe.gate for moe in self.model.moe_layers()], routed, strict=True
            )
            if not isinstance(gate, HashRouter) and decided.router_logits_TE is not None
        ]
        return F.log_softmax(logits_TV.float(), dim=-1), scored


def divergence(clean_TX: Tensor, moved_TX: Tensor, keep_T: Tensor) -> Tensor:
    """KL(clean || moved) of log-probabilities, mean over kept tokens."""
    kl_T = (clean_TX.exp() * (clean_TX - moved_TX)).sum(-1)
    return (kl_T * keep_T).sum() / keep_T.sum().clamp(min=1)


def within_ball(gradient_BSD: Tensor, embedded_BSD: Tensor, *, radius: float) -> Tensor:
    """Along the gradient to the edge of an L2 ball: each sequence moves by `radius` of its norm."""
    norm_B = embedded_BSD.float().flatten(1).norm(dim=1)
    steepness_B = gradient_BSD.float().flatten(1).norm(dim=1).clamp_min(1e-30)
    return gradient_BSD * (radius * norm_B / steepness_B)[:, None, None]


def autocast(tensor: Tensor) -> torch.autocast:
    """bfloat16 on a GPU; it is slower than float32 on most CPUs."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=tensor.device.type == "cuda")
