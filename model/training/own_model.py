"""Our Transformer, as the trainer asks for it.

B = sequences, S = positions, T = B * S tokens, D = model dim, E = routed experts, L = MoE layers,
V = vocabulary.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from model.checkpoint import load_model, save_model
from model.losses import device_balance, expert_balance, load_and_probability, tokens_per_expert
from model.router import HashRouter, Router, SoftmaxRouter
from model.training.stages import Stage, activate, check_stages, narrowed
from model.training.trainable import Balance
from model.transformer import Routed, Transformer


class OwnModel:
    def __init__(self, module: Transformer) -> None:
        self.module = module

    @property
    def vocab_size(self) -> int:
        return self.module.config.vocab_size

    @property
    def context_length(self) -> int:
        return self.module.config.context_length

    @property
    def num_experts(self) -> int:
        return self.module.config.num_experts

    @property
    def num_moe_layers(self) -> int:
        return self.module.config.num_moe_layers

    @property
    def balanced_by_bias(self) -> bool:
        return self.module.config.balancing == "bias"

    @property
    def compiles_whole(self) -> bool:
        return True

    def settings(self) -> dict[str, object]:
        return asdict(self.module.config)

    def require_stages(self, stages: Sequence[Stage]) -> None:
        config = self.module.config
        check_stages(stages, num_experts=config.num_experts, router=config.router)

    def initialize(self, *, seed: int) -> None:
        self.module.initialize(seed=seed)

    def activate(self, stage: Stage) -> None:
        activate(self.module, stage)

    def predicted(
        self, token_ids_BS: Tensor, perturbation_BSD: Tensor | None = None
    ) -> tuple[Tensor, list[Routed]]:
        x_BSD, routed = self.module.hidden(token_ids_BS, perturbation_BSD=perturbation_BSD)
        return self.module.head(x_BSD), routed

    def routed(self, token_ids_BS: Tensor) -> list[Routed]:
        return self.module.hidden(token_ids_BS)[1]

    def balance(self, routed: list[Routed], keep_T: Tensor) -> Balance:
        if not routed:
            none = torch.zeros((), device=keep_T.device)
            return Balance(none, none)
        gates = [moe.gate for moe in self.module.moe_layers()]
        layers = [self.layer_balance(*pair, keep_T) for pair in zip(gates, routed, strict=True)]
        balances, tokens_LE = zip(*layers, strict=True)
        return Balance(torch.stack(balances).sum(), torch.stack(tokens_LE))

    def layer_balance(self, gate: Router, decided: Routed, keep_T: Tensor) -> tuple[Tensor, Tensor]:
        """(weighted balance loss, tokens_E) of one layer."""
        config = self.module.config
        tokens_E = tokens_per_expert(decided.expert_ids_TK, keep_T, config.num_experts)
        if isinstance(gate, HashRouter) or decided.router_logits_TE is None:
            return torch.zeros((), device=tokens_E.device), tokens_E
        balanced_E = tokens_E
        if gate.balanced_choices is not None:
            balanced_TK = decided.expert_ids_TK[:, : gate.balanced_choices]
            balanced_E = tokens_per_expert(balanced_TK, keep_T, config.num_experts)
        load_E, probability_E = load_and_probability(
            gate.probabilities(decided.router_logits_TE), balanced_E, keep_T
        )
        weighted = config.expert_loss_weight * expert_balance(load_E, probability_E)
        if config.device_loss_weight:
            weighted = weighted + config.device_loss_weight * device_balance(
                load_E, probability_E, groups=config.expert_groups
            )
        return weighted, tokens_E

    def rebalance(self, tokens_LE: Tensor) -> None:
        for moe, tokens_E in zip(self.module.moe_layers(), tokens_LE, strict=True):
            assert isinstance(moe.gate, SoftmaxRouter)  # a config refuses to bias a hash
            moe.gate.update_bias(tokens_E, rate=self.module.config.bias_update_rate)

    def compile_blocks(self) -> None:
        for block in self.module.layers:
            block.compile(dynamic=False)

    def save(self, whole: nn.Module, folder: Path, *, stage: Stage) -> None:
        assert isinstance(whole, Transformer)
        whole.config = narrowed(whole, stage)
        save_model(whole, folder)

    def reloaded(self, folder: Path) -> Transformer:
        return load_model(folder, device=str(self.module.embedding.weight.device))
