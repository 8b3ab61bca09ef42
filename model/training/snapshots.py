"""Routing of one fixed held-out sample along a training.

N = documents of the sample, S = positions, F = followed tokens, L = MoE layers, E = routed experts,
K = most experts per token.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from model.losses import by_expert
from model.training.objective import autocast
from model.training.trainable import TrainableModel

FOLLOWED = 16  # of so many positions one token is followed choice by choice
AT_ONCE = 8  # documents


@dataclass(frozen=True, slots=True)
class Sample:
    """Held-out text whose routing is recorded, one full window a document."""

    token_ids_NS: np.ndarray
    domain_id_N: np.ndarray
    domains: tuple[str, ...]


def snapshot_steps(last_step: int, count: int) -> list[int]:
    """At most `count` steps from 1 to the last, evenly spaced in their logarithm."""
    return sorted({round(step) for step in np.geomspace(1, last_step, count).tolist()})


class Snapshots:
    """A safetensors file: `domain_id` [N] and for each step `tokens_00000001` uint16 [N, L, E],
    the choices of each document, and `chosen_00000001` uint8 [F, L, E / 8], packed bits."""

    def __init__(self, path: Path, sample: Sample) -> None:
        self.path, self.sample = path, sample

    @torch.inference_mode()
    def record(self, model: TrainableModel, step: int) -> None:
        """Replaces what an interrupted training recorded at this step and after it."""
        found = load_file(self.path) if self.path.exists() else {}
        kept = {
            key: array
            for key, array in found.items()
            if key.startswith(("tokens_", "chosen_")) and int(key[-8:]) < step
        }
        tokens, chosen = zip(
            *(self.routing(model, ids) for ids in self.sample_ids().split(AT_ONCE)),
            strict=True,
        )
        kept["domain_id"] = self.sample.domain_id_N.astype(np.uint8)
        kept[f"tokens_{step:08}"] = np.concatenate(tokens)
        kept[f"chosen_{step:08}"] = np.concatenate(chosen)
        num_experts = str(model.num_experts)
        metadata = {"num_experts": num_experts, "domains": json.dumps(self.sample.domains)}
        partial = self.path.with_name(self.path.name + ".partial")
        save_file(kept, partial, metadata=metadata)
        os.replace(partial, self.path)

    def sample_ids(self) -> Tensor:
        return torch.from_numpy(self.sample.token_ids_NS.astype(np.int64))

    def routing(self, model: TrainableModel, ids_NS: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(tokens_NLE, chosen_FLE packed) of some documents."""
        ids_NS = ids_NS.to(next(model.module.parameters()).device)
        with autocast(ids_NS), torch.compiler.set_stance("force_eager"):
            routed = model.routed(ids_NS)
        chosen_TLE = torch.stack(
            [
                by_expert(torch.ones_like(ids_TK, dtype=torch.uint8), ids_TK, model.num_experts)
                for ids_TK in (decided.expert_ids_TK for decided in routed)
            ],
            dim=1,
        )
        tokens_NLE = chosen_TLE.unflatten(0, ids_NS.shape).sum(1).cpu().numpy().astype(np.uint16)
        return tokens_NLE, np.packbits(chosen_TLE[::FOLLOWED].cpu().numpy(), axis=-1)
