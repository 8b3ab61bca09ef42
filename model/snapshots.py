"""Routing of one fixed held-out sample along a training, for router saturation.

B = sequences, S = positions, T = B * S tokens, K = experts per token, L = MoE layers.
"""

import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.transformer import Transformer


def snapshot_steps(last_step: int, count: int) -> list[int]:
    """At most `count` steps from 1 to the last, evenly spaced in their logarithm."""
    return sorted({round(step) for step in np.geomspace(1, last_step, count).tolist()})


class Snapshots:
    """A safetensors file: `token_ids` int32 [T] and `step_00000001`, ... uint8 [T, L, K]."""

    def __init__(self, path: Path, sample_BS: Tensor) -> None:
        self.path = path
        self.sample_BS = sample_BS

    @torch.inference_mode()
    def record(self, model: Transformer, step: int) -> None:
        tensors = load_file(self.path) if self.path.exists() and step > 1 else {}
        device = model.embedding.weight.device
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
            _, routed = model.hidden(self.sample_BS.to(device))
        ids_TLK = torch.stack([decided.expert_ids_TK for decided in routed], dim=1)
        tensors[f"step_{step:08}"] = ids_TLK.to(torch.uint8).cpu()
        tensors["token_ids"] = self.sample_BS.flatten().to(torch.int32)
        partial = self.path.with_name(self.path.name + ".partial")
        save_file(tensors, partial)
        os.replace(partial, self.path)
