"""Folders that transformers loads without code of ours, and such folders as checkpoints again.

All but the tokenizer, which the commands bring along.
"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.outputs import write_atomically
from data.strict_json import json_text
from model.checkpoint import (
    load_tensors,
    require_finite_biases,
    require_headers,
    save_tensors,
    split_shards,
    stored_headers,
    stored_shapes,
)
from model.config import ModelConfig
from model.config_file import load_config
from model.exchange.configs import config_text, read_config
from model.exchange.families import Family, family_of
from model.exchange.weights import to_ours, to_theirs, with_own_weights
from model.fingerprint import shard_name, transformers_weights


def write_theirs(source: Path, folder: Path) -> tuple[ModelConfig, Family]:
    """The checkpoint in `source`, its numbers in the types they are stored in; pruned experts get
    a copy each of the weights that they share, and INT8 ones the float32 that they stand for."""
    stored = load_config(source)
    family = family_of(stored)
    config = replace(stored, expert_leaders=None, expert_dtype="bfloat16")
    tensors = with_own_weights(load_tensors(source, stored), stored)
    shards = split_shards(to_theirs(tensors, config, family))
    files: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = shard_name(number, len(shards))
        save_file(shard, folder / name, metadata={"format": "pt"})
        files |= dict.fromkeys(shard, name)
    size = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    write_atomically(folder / "model.safetensors.index.json", json_text(index, indent=2) + "\n")
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    write_atomically(folder / "generation_config.json", json_text(ends, indent=2) + "\n")
    write_atomically(folder / "config.json", config_text(config, family))
    return config, family


def write_ours(source: Path, folder: Path) -> ModelConfig:
    """Of what `write_theirs` wrote, or transformers after it."""
    config, family = read_config(source)
    paths = transformers_weights(source)
    if not paths:
        raise ValueError(f"no weights in {source}: model.safetensors is missing")
    require_fitting(source, paths, config, family)
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= load_file(path)
    ours = to_ours(tensors, config, family)
    require_finite_biases(source, ours)
    save_tensors(ours, config, folder)
    return config


def require_fitting(source: Path, paths: list[Path], config: ModelConfig, family: Family) -> None:
    """The headers of the files against the config, before anything of either size is made."""
    given = stored_headers(paths)
    experts = config.num_moe_layers * config.num_experts
    if experts > len(given):
        raise ValueError(
            f"the weights in {source} do not fit its config: {len(given):,} tensors cannot be "
            f"{experts:,} experts"
        )
    with torch.device("meta"):
        shaped = {name: torch.empty(shape) for name, shape in stored_shapes(config).items()}
    wanted = to_theirs(shaped, config, family)
    require_headers(source, given, {name: list(x.shape) for name, x in wanted.items()})
