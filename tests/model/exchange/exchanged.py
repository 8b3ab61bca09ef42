"""Small models with decided gates, and what the same tokens do in ours and in transformers'.

T = tokens, L = MoE layers, K = chosen, B = sequences, S = positions, V = vocabulary.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from app.folders import SHIPPED
from data.tokenizer import load_tokenizer
from model.checkpoint import load_model, save_model
from model.config import ModelConfig
from model.recording import recorded_routing
from model.transformer import Transformer

CHECKPOINT = SHIPPED / "data" / "checkpoint"
TIE = 1e-6  # two scores closer than that: float32 decides by the last bit


def shrunk(config: ModelConfig) -> ModelConfig:
    """A preset with its gate, experts and groups, and no number at its default."""
    return replace(
        config,
        vocab_size=96,
        context_length=24,
        num_layers=config.first_dense_layers + 2,
        hidden_dim=32,
        num_heads=2,
        head_dim=8,
        dense_ffn_dim=24 if config.dense_ffn_dim else 0,
        expert_dim=8 if config.num_experts else 0,
        rope_base=500.0,
        norm_eps=1e-5,
    )


def write_small(config: ModelConfig, folder: Path) -> None:
    """All weights random, norms and biases too; experts of one token differ."""
    model = Transformer(replace(config, init_std=0.2))
    model.config = config
    model.initialize(seed=0)
    random = torch.manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith("weight_D") or name.endswith("bias_E"):
            tensor += torch.randn(tensor.shape, generator=random) / 8
        elif name.endswith("weight_ED"):
            tensor.copy_(torch.randn(tensor.shape, generator=random))
    save_model(model, folder)


def tokens(config: ModelConfig, *, sequences: int = 8) -> Tensor:
    shape = sequences, config.context_length
    return torch.randint(config.vocab_size, shape, generator=torch.manual_seed(2))


def heldout_tokens(*, sequences: int) -> Tensor:
    """Of the first held-out texts that fill the context of the shipped model."""
    tokenizer = load_tokenizer(CHECKPOINT / "tokenizer.json")
    texts = pq.read_table(CHECKPOINT.with_name("heldout.parquet"))["text"].to_pylist()
    full: list[list[int]] = []
    for text in texts:
        ids = [0, *tokenizer.encode(text).ids]
        if len(ids) >= 512:
            full.append(ids[:512])
        if len(full) == sequences:
            break
    return torch.tensor(full)


class Routed(NamedTuple):
    """Choices of a token in the order of their ids."""

    logits_BSV: Tensor
    expert_ids_TLK: np.ndarray
    weights_TLK: np.ndarray


class Difference(NamedTuple):
    """A tie that float32 decides otherwise changes the rest of its sequence: that is left out of
    the largest differences."""

    logits: float
    weights: float  # of the same choices
    ties: int  # choices that differ, though one expert is as good as the other
    unexplained: int  # that differ otherwise
    tokens: int  # compared


def ours(model: Transformer, ids_BS: Tensor) -> tuple[Routed, np.ndarray]:
    """And the margins [T, L]: how much an expert that was not chosen lacked."""
    if not model.moe_layers():
        return Routed(model(ids_BS), *empty(ids_BS)), np.zeros((ids_BS.numel(), 0))
    with recorded_routing(model) as recording:
        logits_BSV = model(ids_BS)
        decided = recording.take()
    choices = by_id(decided.expert_ids_TLK.astype(np.int64), decided.weights_TLK)
    return Routed(logits_BSV, *choices), decided.margin_TL


def theirs(model: nn.Module, ids_BS: Tensor) -> Routed:
    """What the modules called `experts` receive."""
    received: list[list[Any]] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda _, given, named: received.append([*given, *named.values()]), with_kwargs=True
        )
        for name, module in model.named_modules()
        if name.endswith(".experts")
    ]
    logits_BSV = model(ids_BS).logits
    for hook in hooks:
        hook.remove()
    if not received:
        return Routed(logits_BSV, *empty(ids_BS))
    ids_TLK, weights_TLK = (
        torch.stack([given[place] for given in received], dim=1).numpy() for place in (1, 2)
    )
    return Routed(logits_BSV, *by_id(ids_TLK, weights_TLK))


def empty(ids_BS: Tensor) -> tuple[np.ndarray, np.ndarray]:
    shape = ids_BS.numel(), 0, 0
    return np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)


def by_id(ids_TLK: np.ndarray, weights_TLK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order_TLK = np.argsort(ids_TLK, axis=-1)
    return tuple(np.take_along_axis(x, order_TLK, axis=-1) for x in (ids_TLK, weights_TLK))  # type: ignore[return-value]


@torch.no_grad()
def difference(folder: Path, exported: Path, ids_BS: Tensor) -> Difference:
    """Between the checkpoint in our code and the folder in transformers, which has to load it
    whole: every weight, and no other."""
    model, info = AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert not any(info.values()), info
    here, margin_TL = ours(load_model(folder), ids_BS)
    there = theirs(model.eval(), ids_BS)
    assert here.expert_ids_TLK.shape == there.expert_ids_TLK.shape
    differs_TL = (here.expert_ids_TLK != there.expert_ids_TLK).any(-1)
    tie_TL = differs_TL & (margin_TL < TIE)
    tie_BC = tie_TL.reshape(len(ids_BS), -1)
    follows_TL = (tie_BC.cumsum(-1) - tie_BC > 0).reshape(tie_TL.shape)
    same_TL = ~(follows_TL | differs_TL)
    same_T = torch.from_numpy(same_TL.all(-1))
    logits_T = (here.logits_BSV - there.logits_BSV).abs().amax(-1).flatten()
    weights_TLK = np.abs(here.weights_TLK - there.weights_TLK)
    return Difference(
        logits=logits_T[same_T].max().item(),
        weights=float(weights_TLK[same_TL].max(initial=0)),
        ties=int(tie_TL.sum()),
        unexplained=int((differs_TL & ~tie_TL & ~follows_TL).sum()),
        tokens=int(same_T.sum()),
    )


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
