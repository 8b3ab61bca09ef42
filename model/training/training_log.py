"""What a training reports: sums since the last report, a line of JSON each.

B = sequences, E = routed experts, L = MoE layers, G = domains.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as distributed
from torch import Tensor

from data.outputs import write_atomically
from data.strict_json import json_text
from model.training.objective import Losses

SUMS = 7  # nats, targets, inputs, balance loss, gradient norm, consistency, steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A window, read: means over its steps, the loss over its tokens."""

    tokens: int
    seconds: float
    loss: float
    balance: float
    norm: float
    consistency: float
    violation_L: list[float]  # MaxVio
    chosen_L: list[float]  # experts a token activated
    domains_3G: np.ndarray  # nats, predicted tokens and sequences


class Window:
    """Sums since the last report, kept on the device: reading them is the only wait."""

    def __init__(self, num_moe_layers: int, num_domains: int, device: torch.device) -> None:
        self.began = time.perf_counter()
        self.sums = torch.zeros(SUMS, dtype=torch.float64, device=device)
        self.domains_3G = torch.zeros(3, num_domains, dtype=torch.float64, device=device)
        self.tokens_LE: Tensor | None = None
        self.num_moe_layers = num_moe_layers

    def add(self, losses: Losses, *, norm: Tensor, consistency: Tensor) -> None:
        tokens, inputs = losses.targets.double(), losses.inputs.double()
        one = torch.ones_like(tokens)
        parts = (losses.nats_B.sum(), tokens, inputs, losses.balance, norm, consistency, one)
        self.sums += torch.stack([part.detach().double() for part in parts])
        tokens_LE = losses.tokens_LE
        self.tokens_LE = tokens_LE if self.tokens_LE is None else self.tokens_LE + tokens_LE

    def add_domains(self, domain_B: Tensor, nats_B: Tensor, targets_B: Tensor) -> None:
        """Nats, predicted tokens and sequences of each domain."""
        ones_B = torch.ones_like(nats_B)
        of_3B = torch.stack((nats_B, targets_B, ones_B)).double()
        self.domains_3G.index_add_(1, domain_B, of_3B)

    def read(self) -> Reading:
        """Over all processes."""
        if distributed.is_initialized():
            distributed.all_reduce(self.sums)
            distributed.all_reduce(self.domains_3G)
            if self.tokens_LE is not None:
                distributed.all_reduce(self.tokens_LE)
        nats, targets, inputs, balance, norm, consistency, steps = self.sums.tolist()
        violation_L: list[float] = []
        chosen_L: list[float] = []
        if self.num_moe_layers and self.tokens_LE is not None:
            tokens_LE = self.tokens_LE
            violation_L = (tokens_LE.amax(-1) / tokens_LE.mean(-1) - 1).tolist()
            chosen_L = (tokens_LE.double().sum(-1) / inputs).tolist()
        return Reading(
            tokens=int(targets),
            seconds=time.perf_counter() - self.began,
            loss=nats / targets,
            balance=balance / steps,
            norm=norm / steps,
            consistency=consistency / steps,
            violation_L=violation_L,
            chosen_L=chosen_L,
            domains_3G=self.domains_3G.cpu().numpy(),
        )


def append_line(path: Path, line: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(json_text(line) + "\n")


def cut_log(path: Path, step: int) -> int:
    """Drop the lines after `step`, which are about to be repeated; tokens trained by then.

    A last line that was never finished goes too.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    lines = [json.loads(line) for line in whole]
    kept = [line for line in lines if line["step"] <= step]
    write_atomically(path, "".join(json_text(line) + "\n" for line in kept))
    return kept[-1]["tokens"] if kept else 0
