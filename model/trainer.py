"""Training: AdamW, warm-up then cosine decay, bf16 autocast, exact resume, JSONL metrics.

B = sequences, S = positions, T = tokens, E = routed experts, K = experts per token, L = MoE layers.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.distributed as distributed
from torch import Tensor, nn

from model.checkpoint import load_progress, save_model, save_progress
from model.objective import Objective
from model.router import SoftmaxRouter
from model.snapshots import Snapshots, snapshot_steps
from model.transformer import Transformer

BatchOfStep = Callable[[int], np.ndarray]  # step -> token ids [B, S + 1], -1 is padding


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    steps: int  # the whole schedule
    batch_size: int  # sequences a step, over all processes
    learning_rate: float  # the peak
    warmup_steps: int
    final_learning_rate: float = 0.1  # of the peak, at the last step
    weight_decay: float = 0.1  # matrices only
    clip_norm: float = 1.0
    log_every: int = 20  # steps
    checkpoint_every: int = 2000  # steps
    snapshots: int = 10  # log-spaced steps at which routing is recorded
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(
                f"steps ({self.steps}) and batch_size ({self.batch_size}) must be positive"
            )
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be between 0 and steps ({self.steps})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    step: int  # done
    tokens: int  # done, padding not counted
    loss: float  # nats per token, mean since the last report
    tokens_per_second: float


class DivergedError(RuntimeError):
    """The loss stopped being a number."""


def learning_rate(step: int, config: TrainConfig) -> float:
    """Of step `step`, counted from 0: linear warm-up, then a cosine to `final_learning_rate`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.final_learning_rate
    return config.learning_rate * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)


def new_optimizer(model: Transformer, config: TrainConfig) -> torch.optim.AdamW:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    on_gpu = parameters[0].is_cuda
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=on_gpu)


class Trainer:
    """One training in one folder: train_log.jsonl, progress.safetensors, snapshots, weights."""

    def __init__(
        self,
        model: Transformer,
        config: TrainConfig,
        folder: Path,
        *,
        batch_of: BatchOfStep,
        sample_BS: Tensor | None = None,
    ) -> None:
        """`sample_BS`: held-out tokens whose routing is recorded along the way."""
        self.config, self.folder, self.batch_of = config, folder, batch_of
        self.model = model
        self.device = model.embedding.weight.device
        self.optimizer = new_optimizer(model, config)
        self.step = 0
        self.tokens = 0
        self.rank, self.world = process_rank()
        objective: nn.Module = Objective(model)
        if self.device.type == "cuda":
            objective = cast(nn.Module, torch.compile(objective))
        if self.world > 1:
            objective = nn.parallel.DistributedDataParallel(objective)
        self.objective = objective
        with_experts = model.config.num_experts > 0
        self.snapshots = (
            Snapshots(folder / "snapshots.safetensors", sample_BS)
            if sample_BS is not None and with_experts
            else None
        )
        if config.batch_size % self.world:
            raise ValueError(
                f"batch_size ({config.batch_size}) must be a multiple of the {self.world} processes"
            )

    def run(
        self, *, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> bool:
        """Train to the last step, or until asked to stop; whether it is finished.

        Continues from the folder's checkpoint if there is one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start_or_resume()
        snapshots_at = set(snapshot_steps(self.config.steps, self.config.snapshots))
        window = Window(self.model.config.num_moe_layers, self.device)
        while self.step < self.config.steps:
            window.add(*self.train_step())
            self.step += 1
            if self.snapshots and self.rank == 0 and self.step in snapshots_at:
                self.snapshots.record(self.model, self.step)
            last = self.step == self.config.steps
            keep = last or self.step % self.config.checkpoint_every == 0
            if (
                keep or self.step % self.config.log_every == 0
            ):  # no checkpoint unseen: it may be NaN
                on_progress(self.report(window))
                window = Window(self.model.config.num_moe_layers, self.device)
            if keep:
                self.checkpoint()
            elif self.step % self.config.log_every == 0 and should_stop():
                self.checkpoint()
                return False
        if self.rank == 0:
            save_model(self.model, self.folder)
        return True

    def start_or_resume(self) -> None:
        settings = self.folder / "train_config.json"
        asked = asdict(self.config) | {"model": asdict(self.model.config)}
        if not (self.folder / "progress.safetensors").exists():
            self.model.initialize(seed=self.config.seed)
            settings.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
            (self.folder / "train_log.jsonl").write_text("", encoding="utf-8")
            return
        found = json.loads(settings.read_text(encoding="utf-8"))
        if found != json.loads(json.dumps(asked)):
            changed = sorted(key for key in asked if found.get(key) != asked[key])
            raise ValueError(
                f"{self.folder} holds a training with other settings ({', '.join(changed)}); "
                "continue it with its own settings or choose another folder"
            )
        self.step = load_progress(self.folder, self.model, self.optimizer)
        self.tokens = cut_log(self.folder / "train_log.jsonl", self.step)

    def train_step(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(loss sum, tokens, balance loss, gradient norm, tokens_LE) of one step, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        rows = slice(self.rank, None, self.world)
        batch_BS = torch.from_numpy(self.batch_of(self.step)[rows])
        if self.device.type == "cuda":
            batch_BS = batch_BS.pin_memory()
        batch_BS = batch_BS.to(self.device, non_blocking=True)
        total, balance, tokens, tokens_LE = self.objective(batch_BS)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.model.config.balancing == "bias":
            self.update_biases(tokens_LE)
        return (total.detach() - balance) * tokens, tokens, balance, norm, tokens_LE

    def update_biases(self, tokens_LE: Tensor) -> None:
        if self.world > 1:
            tokens_LE = tokens_LE.clone()
            distributed.all_reduce(tokens_LE)
        for moe, tokens_E in zip(self.model.moe_layers(), tokens_LE, strict=True):
            assert isinstance(moe.gate, SoftmaxRouter)  # a config refuses to bias a hash
            moe.gate.update_bias(tokens_E, rate=self.model.config.bias_update_rate)

    def report(self, window: "Window") -> Progress:
        loss, tokens, balance, norm, max_violation_L = window.read()
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} by step {self.step}; the last checkpoint in {self.folder} "
                "is from before: lower the learning rate and continue from it"
            )
        self.tokens += tokens
        rate = tokens / window.seconds()
        if self.rank == 0:
            line = {
                "step": self.step,
                "tokens": self.tokens,
                "loss": loss,
                "balance_loss": balance,
                "learning_rate": learning_rate(self.step - 1, self.config),
                "grad_norm": norm,
                "tokens_per_second": round(rate),
                "max_violation": max_violation_L,
            }
            with (self.folder / "train_log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        return Progress(step=self.step, tokens=self.tokens, loss=loss, tokens_per_second=rate)

    def checkpoint(self) -> None:
        if self.rank == 0:
            save_progress(self.folder, self.model, self.optimizer, step=self.step)
        if self.world > 1:
            distributed.barrier()


class Window:
    """Sums since the last report, kept on the device: reading them is the only wait."""

    def __init__(self, num_moe_layers: int, device: torch.device) -> None:
        self.began = time.perf_counter()
        self.sums = torch.zeros(5, dtype=torch.float64, device=device)
        self.tokens_LE: Tensor | None = None
        self.num_moe_layers = num_moe_layers

    def add(
        self, loss_sum: Tensor, tokens: Tensor, balance: Tensor, norm: Tensor, tokens_LE: Tensor
    ) -> None:
        one = torch.ones_like(loss_sum)
        self.sums += torch.stack((loss_sum, tokens, balance, norm, one)).detach().double()
        self.tokens_LE = tokens_LE if self.tokens_LE is None else self.tokens_LE + tokens_LE

    def read(self) -> tuple[float, int, float, float, list[float]]:
        """(loss, tokens, balance loss, gradient norm, MaxVio by layer), over all processes."""
        if distributed.is_initialized():
            distributed.all_reduce(self.sums)
            if self.tokens_LE is not None:
                distributed.all_reduce(self.tokens_LE)
        loss_sum, tokens, balance, norm, steps = self.sums.tolist()
        max_violation_L: list[float] = []
        if self.num_moe_layers and self.tokens_LE is not None:
            tokens_LE = self.tokens_LE
            max_violation_L = (tokens_LE.amax(-1) / tokens_LE.mean(-1) - 1).tolist()
        return loss_sum / tokens, int(tokens), balance / steps, norm / steps, max_violation_L

    def seconds(self) -> float:
        return time.perf_counter() - self.began


def cut_log(path: Path, step: int) -> int:
    """Drop the lines after `step`, which are about to be repeated; tokens trained by then."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [line for line in lines if line["step"] <= step]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    return kept[-1]["tokens"] if kept else 0


def process_rank() -> tuple[int, int]:
    """(rank, processes); starts the process group under torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), world
