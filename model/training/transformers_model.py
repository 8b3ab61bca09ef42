"""A MoE model of transformers, as the trainer asks for it.

B = sequences, S = positions, T = B * S tokens, R = tokens that are no padding, E = routed experts,
K = experts per token, L = MoE layers, V = vocabulary.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from data.outputs import write_atomically
from data.strict_json import json_text, read_object
from model.checkpoint import SHARD_BYTES, tied_names
from model.fingerprint import remove_shards
from model.huggingface.layers import find_layers
from model.losses import tokens_per_expert
from model.training.stages import Stage
from model.training.trainable import Balance
from model.transformer import Routed

START = "<|endoftext|>"  # the token of START_ID in model/training/transformers_config.py
BIAS_RATE = 0.001  # of DeepSeek-V3 (arXiv 2412.19437, 4.2); configs of transformers have none

GateLogits = tuple[Tensor, ...]
BalanceLoss = Callable[[GateLogits, int, int], Tensor]


class RoutedModel(nn.Module):
    """A model of transformers whose forward pass tells what its MoE layers decide."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.layers = find_layers(model)
        self._logits: list[Tensor | None] = []
        self._ids: list[Tensor] = []
        for layer in self.layers:
            layer.watch(self)

    def decided(self, router_logits_TE: Tensor | None) -> None:
        self._logits.append(router_logits_TE)

    def admitted(self, kept_TK: Tensor) -> None:
        """The balance loss is of what was chosen, refused or not."""

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> None:
        self._ids.append(expert_ids_TK)

    def forward(self, token_ids_BS: Tensor) -> tuple[Tensor, list[Routed]]:
        """Logits_BSV of the next token, and what each MoE layer decided."""
        self._logits.clear()
        self._ids.clear()
        inputs = {"input_ids": token_ids_BS, "use_cache": False}
        logits_BSV = functional_call(self.model, self.cast_experts(), (), inputs).logits
        routed = [Routed(*pair) for pair in zip(self._logits, self._ids, strict=True)]
        self._logits.clear()
        self._ids.clear()
        return logits_BSV, routed

    def cast_experts(self) -> dict[str, Tensor]:
        """The stacked weights of experts, as autocast would cast them: it leaves grouped products
        alone, which are slow in float32 on a GPU."""
        kind = next(self.model.parameters()).device.type
        if not torch.is_autocast_enabled(kind):
            return {}
        dtype = torch.get_autocast_dtype(kind)
        return {name: p.to(dtype) for name, p in self.model.named_parameters() if p.dim() == 3}


class LogitsAlone(nn.Module):
    def __init__(self, model: RoutedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, token_ids_BS: Tensor) -> Tensor:
        logits_BSV: Tensor = self.model(token_ids_BS)[0]
        return logits_BSV


class TransformersModel:
    """Built from a config, with random weights in float32."""

    compiles_whole = False  # traced as one it would need a mask where causal attention needs none

    def __init__(self, config: PreTrainedConfig, *, device: str = "cpu") -> None:
        self.config = config
        self.module = RoutedModel(fresh_model(config, seed=0))
        if not self.module.layers:
            raise ValueError(
                f"a {config.model_type} of this config has no MoE layers (with a gate and experts);"
                " use a config of a MoE model"
            )
        with torch.enable_grad():
            logits_BSV, routed = self.module(torch.zeros(1, 2, dtype=torch.long))
            logits_BSV.float().logsumexp(-1).sum().backward()
        widths = {decided.router_logits_TE.shape[1] for decided in routed}
        if len(widths) > 1:
            raise ValueError(
                f"the MoE layers have {sorted(widths)} experts; use a config with as many in each"
            )
        [self.num_experts] = widths
        self.num_moe_layers = len(routed)
        for parameter in self.module.parameters():
            parameter.requires_grad_(parameter.grad is not None)  # the others are moved by no loss
            parameter.grad = None
        self.module.to(device)
        self.aux_weight, self.aux_loss = family_balance(self.module.model)

    @property
    def biases(self) -> list[Tensor]:
        """Of gates that are balanced by one, as DeepSeek-V3's."""
        gates = [layer.gate for layer in self.module.layers]
        found = [getattr(gate, "e_score_correction_bias", None) for gate in gates]
        return [bias for bias in found if isinstance(bias, Tensor)]

    @property
    def balanced_by_bias(self) -> bool:
        return len(self.biases) == self.num_moe_layers

    @property
    def context_length(self) -> int:
        length: int = self.config.get_text_config().max_position_embeddings
        return length

    @property
    def vocab_size(self) -> int:
        size: int = self.config.get_text_config().vocab_size
        return size

    def settings(self) -> dict[str, object]:
        told: dict[str, object] = self.config.to_dict()
        told.pop("transformers_version", None)
        return told

    def require_stages(self, stages: Sequence[Stage]) -> None:
        raise ValueError("a model of transformers is not trained in stages; leave out --stages")

    def initialize(self, *, seed: int) -> None:
        self.module.model.load_state_dict(fresh_model(self.config, seed=seed).state_dict())

    def activate(self, stage: Stage) -> None:
        """Its gates have no limits to set."""

    def predicted(
        self, token_ids_BS: Tensor, perturbation_BSD: Tensor | None = None
    ) -> tuple[Tensor, list[Routed]]:
        assert perturbation_BSD is None  # of stages
        predicted: tuple[Tensor, list[Routed]] = self.module(token_ids_BS)
        return predicted

    def routed(self, token_ids_BS: Tensor) -> list[Routed]:
        return self.predicted(token_ids_BS)[1]

    def balance(self, routed: list[Routed], keep_T: Tensor) -> Balance:
        tokens_LE = torch.stack(
            [tokens_per_expert(one.expert_ids_TK, keep_T, self.num_experts) for one in routed]
        )
        if self.aux_loss is None:
            return Balance(torch.zeros((), device=keep_T.device), tokens_LE)
        row_R = keep_T.nonzero().squeeze(1)
        losses = [self.layer_loss(one, row_R) for one in routed]
        return Balance(self.aux_weight * torch.stack(losses).mean(), tokens_LE)

    def layer_loss(self, decided: Routed, row_R: Tensor) -> Tensor:
        assert decided.router_logits_TE is not None
        assert self.aux_loss is not None
        logits_RE = decided.router_logits_TE.float().index_select(0, row_R)
        return self.aux_loss((logits_RE,), self.num_experts, decided.expert_ids_TK.shape[1])

    def rebalance(self, tokens_LE: Tensor) -> None:
        for bias_E, tokens_E in zip(self.biases, tokens_LE, strict=True):
            with torch.no_grad():
                bias_E += BIAS_RATE * torch.sign(tokens_E.mean() - tokens_E)

    def compile_blocks(self) -> None:
        for block in blocks(self.module.model):
            block.compile(dynamic=False)

    def save(self, whole: nn.Module, folder: Path, *, stage: Stage) -> None:
        """As `save_pretrained` writes it, in bfloat16; biases that choose experts stay float32."""
        assert isinstance(whole, RoutedModel)
        model = whole.model
        tied = tied_names(model)
        weights = {
            name: tensor.detach().to("cpu", tensor.dtype if "bias" in name else torch.bfloat16)
            for name, tensor in model.state_dict().items()
            if name not in tied
        }
        remove_shards(folder)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            limit = SHARD_BYTES - 2**16  # the header
            model.save_pretrained(partial, state_dict=weights, max_shard_size=limit)
            config = read_object(Path(partial) / "config.json", remedy="train again")
            told = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": START,
                "eos_token": START,
                "model_max_length": self.context_length,
            }
            files = {"config.json": config | {"dtype": "bfloat16"}, "tokenizer_config.json": told}
            for name, values in files.items():
                write_atomically(Path(partial) / name, json_text(values, indent=2) + "\n")
            names = sorted(os.listdir(partial), key=lambda name: name == "config.json")
            for name in names:  # the config last: who finds it finds the weights
                os.replace(Path(partial) / name, folder / name)

    def reloaded(self, folder: Path) -> LogitsAlone:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        device = next(self.module.parameters()).device
        return LogitsAlone(RoutedModel(model)).to(device).eval()


def fresh_model(config: PreTrainedConfig, *, seed: int) -> PreTrainedModel:
    """A function of the config and the seed, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model


def blocks(model: nn.Module) -> list[nn.Module]:
    """The layers of the lists that hold MoE layers."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    holding = [each for each in lists if find_layers(each)]
    return [block for each in holding for block in each]


def family_balance(model: PreTrainedModel) -> tuple[float, BalanceLoss | None]:
    """Weight and function of the balance loss that the model's family has; 0 and None: it has none.

    It is computed layer by layer, as where it comes from (arXiv 2101.03961, equation 4). On all
    layers at once, as models of transformers call it, too many tokens for an expert of one layer
    would be made good by too few for its namesake in another.
    """
    weight = getattr(model.config.get_text_config(), "router_aux_loss_coef", None)
    loss = getattr(sys.modules[type(model).__module__], "load_balancing_loss_func", None)
    return (0.0, None) if not weight or loss is None else (float(weight), loss)
