"""Training: AdamW, warm-up then cosine decay or stages, bf16 autocast, exact resume, JSONL log.

B = sequences, S = positions, D = model dim, E = routed experts, L = MoE layers, G = domains.
"""

import json
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.distributed as distributed
from torch import Tensor, nn

from data.training_folder import TrainingFolder
from model.checkpoint import load_progress, save_model, save_progress
from model.router import SoftmaxRouter
from model.training.curriculum import SequenceSource, StagedBatches
from model.training.objective import Consistency, Losses, Objective, within_ball
from model.training.snapshots import Sample, Snapshots, snapshot_steps
from model.training.stages import Span, activate, check_stages, narrowed
from model.training.train_config import TrainConfig, learning_rate
from model.training.training_log import Window, append_line, cut_log
from model.transformer import Transformer

RADIUS = 0.1  # of the norm of a sequence's embeddings: the ball that adversaries stay in
ADVERSARIAL_EVERY = 4  # one sequence of so many meets an adversary

BatchOfStep = Callable[[int], np.ndarray]  # step -> token ids [B, S + 1], -1 is padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    step: int  # done
    tokens: int  # done, padding not counted
    loss: float  # nats per token, mean since the last report
    tokens_per_second: float


class DivergedError(RuntimeError):
    """The loss stopped being a number."""


def new_optimizer(model: Transformer, config: TrainConfig) -> torch.optim.AdamW:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    on_gpu = parameters[0].is_cuda
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=on_gpu)


class Trainer:
    """One training in one folder: settings, log, progress, snapshots, weights."""

    def __init__(
        self,
        model: Transformer,
        config: TrainConfig,
        folder: Path,
        *,
        batches: BatchOfStep | SequenceSource,
        sample: Sample | None = None,
    ) -> None:
        """`batches`: of every step; with stages, where the sequences of a domain come from.
        `sample`: held-out text whose routing is recorded along the way."""
        self.config, self.folder, self.model = config, folder, model
        self.device = model.embedding.weight.device
        self.optimizer = new_optimizer(model, config)
        self.step = 0
        self.tokens = 0
        self.rank, self.world = process_rank()
        self.spans = config.spans()
        self.staged: StagedBatches | None = None
        if config.stages:
            architecture = model.config
            check_stages(
                config.stages, num_experts=architecture.num_experts, router=architecture.router
            )
            assert not callable(batches)
            length = architecture.context_length
            self.staged = StagedBatches(batches, context_length=length, seed=config.seed)
        else:
            assert callable(batches)
            self.batch_of = batches
        self.objective = self.parallel(Objective(model))
        self.consistency = Consistency(model)
        self.snapshots = (
            Snapshots(TrainingFolder(folder).snapshots, sample)
            if sample is not None and model.config.num_experts
            else None
        )
        if uneven := [span.batch_size for span in self.spans if span.batch_size % self.world]:
            raise ValueError(
                f"batch_size ({uneven[0]}) must be a multiple of the {self.world} processes"
            )

    def parallel(self, objective: Objective) -> nn.Module:
        """Compiled where there is a GPU: as one, or with stages block by block, as their batches
        come in many shapes and all blocks of a kind share what is compiled."""
        module: nn.Module = objective
        if self.device.type == "cuda" and self.staged:
            torch._dynamo.config.recompile_limit = 64
            for block in self.model.layers:
                block.compile(dynamic=False)
            objective.nats = torch.compile(objective.nats, dynamic=False)  # type: ignore[method-assign]
        elif self.device.type == "cuda":
            module = cast(nn.Module, torch.compile(objective))
        if self.world > 1:
            module = nn.parallel.DistributedDataParallel(module)
        return module

    @property
    def last_step(self) -> int:
        return self.spans[-1].end

    def span(self) -> Span:
        """That the next step belongs to."""
        return next(span for span in self.spans if self.step < span.end)

    def run(
        self, *, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> bool:
        """Train to the last step, or until asked to stop; whether it is finished.

        Continues from the folder's checkpoint if there is one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start_or_resume()
        snapshots_at = set(snapshot_steps(self.last_step, self.config.snapshots))
        snapshots_at |= {span.end for span in self.spans}
        window = self.window()
        while self.step < self.last_step:
            span = self.span()
            self.train_step(span, window)
            self.step += 1
            if self.snapshots and self.rank == 0 and self.step in snapshots_at:
                self.snapshots.record(self.model, self.step)
            last = self.step == self.last_step
            keep = last or self.step % self.config.checkpoint_every == 0
            # no checkpoint unseen: it may be NaN
            if keep or self.step % self.config.log_every == 0:
                on_progress(self.report(window, span))
                window = self.window()
            if keep:
                self.checkpoint()
            elif self.step % self.config.log_every == 0 and should_stop():
                self.checkpoint()
                return False
        if self.rank == 0:
            self.model.config = narrowed(self.model, self.spans[-1].stage)
            save_model(self.model, self.folder)
        return True

    def window(self) -> Window:
        domains = len(self.staged.source.domains) if self.staged else 0
        return Window(self.model.config.num_moe_layers, domains, self.device)

    def start_or_resume(self) -> None:
        files = TrainingFolder(self.folder)
        ends = [[span.stage.name, span.end] for span in self.spans] if self.staged else []
        settled = asdict(self.config) | {"model": asdict(self.model.config), "stage_ends": ends}
        asked = json.loads(json.dumps(settled))  # tuples are lists there
        if not files.progress.exists():
            self.model.initialize(seed=self.config.seed)
            for stale in (files.model_config, files.snapshots):  # of a training before
                stale.unlink(missing_ok=True)
            files.settings.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
            files.log.write_text("", encoding="utf-8")
            return
        found = json.loads(files.settings.read_text(encoding="utf-8"))
        if found != asked:
            changed = sorted(key for key in asked if found.get(key) != asked[key])
            raise ValueError(
                f"{self.folder} holds a training with other settings ({', '.join(changed)}); "
                "continue it with its own settings or choose another folder"
            )
        self.step, batches = load_progress(self.folder, self.model, self.optimizer)
        if self.staged and batches is not None:
            self.staged.restore(batches)
        self.tokens = cut_log(files.log, self.step)

    def train_step(self, span: Span, window: Window) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config, span)
        activate(self.model, span.stage)
        batch_BS, domain_B = self.batch(span)
        losses, consistency = self.gradients(batch_BS, adversarial=span.stage.adversarial)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.model.config.balancing == "bias":
            self.update_biases(losses.tokens_LE)
        window.add(losses, norm=norm, consistency=consistency)
        if domain_B is not None:
            window.add_domains(domain_B, losses.nats_B, (batch_BS[:, 1:] >= 0).sum(-1))

    def batch(self, span: Span) -> tuple[Tensor, Tensor | None]:
        """(token ids [B, S + 1], the domains where they are known) of this process."""
        rows = slice(self.rank, None, self.world)
        if self.staged is None:
            return self.on_device(self.batch_of(self.step)[rows]), None
        ids_BS, domain_B = self.staged.draw(self.step, span)
        return self.on_device(ids_BS[rows]), self.on_device(domain_B[rows])

    def on_device(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def gradients(self, batch_BS: Tensor, *, adversarial: bool) -> tuple[Losses, Tensor]:
        """Backward of the batch; (its losses, the consistency under an adversary).

        The adversary is free (arXiv 1904.12843): it moves the embeddings along the gradient that
        the step computes anyway, so that what it costs is the consistency alone.
        """
        if not adversarial:
            losses = self.objective(batch_BS)
            losses.total.backward()
            return losses, torch.zeros((), device=self.device)
        inputs_BS = batch_BS[:, :-1].clamp(min=0)
        embedded_BSD = self.model.embedding(inputs_BS).detach()
        origin_BSD = torch.zeros_like(embedded_BSD, requires_grad=True)
        alone = self.objective.no_sync() if self.world > 1 else nullcontext()  # type: ignore[operator]
        with alone:
            losses = self.objective(batch_BS, origin_BSD)
            losses.total.backward()
        assert origin_BSD.grad is not None
        moved_BSD = within_ball(origin_BSD.grad, embedded_BSD, radius=RADIUS)
        some = slice(None, None, ADVERSARIAL_EVERY)
        consistency = self.consistency(batch_BS[some].contiguous(), moved_BSD[some].contiguous())
        consistency.backward()
        if self.world > 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad, op=distributed.ReduceOp.AVG)
        return losses, consistency.detach()

    def update_biases(self, tokens_LE: Tensor) -> None:
        if self.world > 1:
            tokens_LE = tokens_LE.clone()
            distributed.all_reduce(tokens_LE)
        for moe, tokens_E in zip(self.model.moe_layers(), tokens_LE, strict=True):
            assert isinstance(moe.gate, SoftmaxRouter)  # a config refuses to bias a hash
            moe.gate.update_bias(tokens_E, rate=self.model.config.bias_update_rate)

    def report(self, window: Window, span: Span) -> Progress:
        read = window.read()
        if not math.isfinite(read.loss):
            raise DivergedError(
                f"the loss is {read.loss} by step {self.step}; the last checkpoint in "
                f"{self.folder} is from before: lower the learning rate and continue from it"
            )
        self.tokens += read.tokens
        rate = read.tokens / read.seconds
        line = {
            "step": self.step,
            "tokens": self.tokens,
            "loss": read.loss,
            "balance_loss": read.balance,
            "learning_rate": learning_rate(self.step - 1, self.config, span),
            "grad_norm": read.norm,
            "tokens_per_second": round(rate),
            "max_violation": read.violation_L,
            "chosen": read.chosen_L,
        }
        if self.staged:
            line |= self.staged.report(self.step - 1, span, read.domains_3G)
            line["consistency"] = read.consistency if span.stage.adversarial else None
        if self.rank == 0:
            append_line(TrainingFolder(self.folder).log, line)
        return Progress(step=self.step, tokens=self.tokens, loss=read.loss, tokens_per_second=rate)

    def checkpoint(self) -> None:
        if self.rank == 0:
            batches = self.staged.state() if self.staged else None
            save_progress(self.folder, self.model, self.optimizer, step=self.step, batches=batches)
        if self.world > 1:
            distributed.barrier()


def process_rank() -> tuple[int, int]:
    """(rank, processes); starts the process group under torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), world
