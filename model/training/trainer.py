"""Training: AdamW, warm-up then cosine decay or stages, bf16 autocast, exact resume, JSONL log.

B = sequences, S = positions, D = model dim, E = routed experts, L = MoE layers, G = domains.
"""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from data.outputs import only_writer, write_atomically
from data.strict_json import json_text
from data.training_folder import TrainingFolder
from model.checkpoint import load_progress, save_progress
from model.parallel.expert_parallel import require_spreadable
from model.parallel.ranks import add_up, all_ranks, process_rank
from model.training.batches import Batches
from model.training.objective import Consistency, Losses, Objective, compiled, within_ball
from model.training.parameters import CopiedParameters, SpreadParameters
from model.training.snapshots import Sample, Snapshots, snapshot_steps
from model.training.stages import Span
from model.training.train_config import TrainConfig, learning_rate
from model.training.trainable import TrainableModel
from model.training.training_log import Window, append_line, cut_log
from model.transformer import Transformer

RADIUS = 0.1  # of the norm of a sequence's embeddings: the ball that adversaries stay in
ADVERSARIAL_EVERY = 4  # one sequence of so many meets an adversary


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    step: int  # done
    tokens: int  # done, padding not counted
    loss: float  # nats per token, mean since the last report
    tokens_per_second: float


class DivergedError(RuntimeError):
    """The loss stopped being a number."""


class Trainer:
    """One training in one folder: settings, log, progress, snapshots, weights."""

    def __init__(
        self,
        model: TrainableModel,
        config: TrainConfig,
        folder: Path,
        *,
        batches: Batches,
        sample: Sample | None = None,
        parallel: bool = False,
        corpus: str | None = None,
    ) -> None:
        """`sample`: held-out text whose routing is recorded along the way. `parallel`: the experts
        are spread over the processes instead of copied to each. `corpus`: what a training is not
        continued without (`corpus_identity`)."""
        self.config, self.folder, self.model = config, folder, model
        module = model.module
        self.device = next(module.parameters()).device
        self.parameters: CopiedParameters | SpreadParameters = CopiedParameters(module, config)
        self.step = 0
        self.tokens = 0
        self.rank, self.world = process_rank()
        self.spans = config.spans()
        self.batches = batches
        if config.stages:
            assert batches.domains  # stages draw by domain
            model.require_stages(config.stages)
        self.parallel = parallel
        if parallel:
            require_spreadable(self.own_transformer, self.world)
        self.objective = self.prepared(Objective(model))
        self.snapshots = (
            Snapshots(TrainingFolder(folder).snapshots, sample)
            if sample is not None and model.num_experts
            else None
        )
        self.settings = self.settled() | ({} if corpus is None else {"corpus": corpus})
        if self.rank == 0:  # which writes there; others may look later
            unsaved = -(-config.checkpoint_every // config.log_every)
            TrainingFolder(folder).require_begun_with(self.settings, unsaved_lines=unsaved)
        if uneven := [span.batch_size for span in self.spans if span.batch_size % self.world]:
            raise ValueError(
                f"batch_size ({uneven[0]}) must be a multiple of the {self.world} processes"
            )

    @property
    def own_transformer(self) -> Transformer:
        """No other model has stages with an adversary, or experts that are spread."""
        assert isinstance(self.model.module, Transformer)
        return self.model.module

    def prepared(self, objective: Objective) -> nn.Module:
        """Compiled where there is a GPU, but for spread experts: these exchange rows on the way."""
        if self.parallel:
            return objective
        module: nn.Module = objective
        if self.device.type == "cuda":
            by_block = bool(self.config.stages) or not self.model.compiles_whole
            module = compiled(objective, by_block=by_block)
        return nn.parallel.DistributedDataParallel(module) if self.world > 1 else module

    def settled(self) -> dict[str, object]:
        """What a training must have in common with the one that it continues, as JSON reads it."""
        ends = [[span.stage.name, span.end] for span in self.spans] if self.config.stages else []
        settings = asdict(self.config) | {"model": self.model.settings(), "stage_ends": ends}
        return json.loads(json.dumps(settings))

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
        with only_writer(self.folder) if self.rank == 0 else nullcontext():
            return self.continued(on_progress, should_stop)

    def continued(
        self, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> bool:
        self.start_or_resume()
        if self.parallel:
            assert isinstance(self.parameters, CopiedParameters)
            self.parameters = SpreadParameters(self.parameters, all_ranks(), self.config)
        snapshots_at = set(snapshot_steps(self.last_step, self.config.snapshots))
        snapshots_at |= {span.end for span in self.spans}
        window = self.window()
        while self.step < self.last_step:
            span = self.span()
            self.train_step(span, window)
            self.step += 1
            last = self.step == self.last_step
            keep = last or self.step % self.config.checkpoint_every == 0
            logs = self.step % self.config.log_every == 0
            stops = logs and not keep and self.any_rank(should_stop())
            snap = self.snapshots is not None and self.step in snapshots_at
            if keep or logs:
                on_progress(self.report(window, span))
                window = self.window()
            if keep or stops or snap:
                self.require_finite_weights()
            if self.snapshots and snap:
                if self.rank == 0:
                    self.snapshots.record(self.model, self.step)
                self.parameters.serve()
            if keep or stops:
                self.checkpoint()
            if stops:
                return False
        if whole := self.parameters.whole():
            self.model.save(whole.model, self.folder, stage=self.spans[-1].stage)
        return True

    def any_rank(self, asked: bool) -> bool:
        """Processes stop together: each has a clock of its own."""
        if self.world == 1:
            return asked
        return add_up(torch.tensor(int(asked), device=self.device)).item() > 0

    def window(self) -> Window:
        domains = len(self.batches.domains)
        return Window(self.model.num_moe_layers, domains, self.device)

    def start_or_resume(self) -> None:
        files = TrainingFolder(self.folder)
        if self.rank == 0:
            files.remove_partials()
        if not files.progress.is_file():
            self.model.initialize(seed=self.config.seed)
            if self.rank == 0:
                files.snapshots.unlink(missing_ok=True)  # of the same training, cut short
                write_atomically(files.settings, json_text(self.settings, indent=2) + "\n")
                files.log.write_text("", encoding="utf-8")
            return
        self.step, batches = load_progress(
            self.folder, self.model.module, self.parameters.optimizer
        )
        if batches is not None:
            self.batches.restore(batches)
        if self.rank > 0:
            return  # the first keeps the log
        self.tokens = cut_log(files.log, self.step)

    def train_step(self, span: Span, window: Window) -> None:
        optimizer = self.parameters.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config, span)
        self.model.activate(span.stage)
        batch_BS, domain_B = self.batch(span)
        losses, consistency = self.gradients(batch_BS, adversarial=span.stage.adversarial)
        norm = self.parameters.clip_gradients(self.config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self.model.balanced_by_bias:
            tokens_LE = losses.tokens_LE
            self.model.rebalance(add_up(tokens_LE.clone()) if self.world > 1 else tokens_LE)
        window.add(losses, norm=norm, consistency=consistency)
        if domain_B is not None:
            window.add_domains(domain_B, losses.nats_B, (batch_BS[:, 1:] >= 0).sum(-1))

    def batch(self, span: Span) -> tuple[Tensor, Tensor | None]:
        """(token ids [B, S + 1], the domains where they are known) of this process."""
        rows = slice(self.rank, None, self.world)
        ids_BS, domain_B = self.batches.draw(self.step, span)
        domains = None if domain_B is None else self.on_device(domain_B[rows])
        return self.on_device(ids_BS[rows]), domains

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
        averages = isinstance(self.objective, nn.parallel.DistributedDataParallel)
        if not adversarial:
            losses = self.objective(batch_BS)
            losses.total.backward()
            if not averages:
                self.parameters.average_gradients()
            return losses, torch.zeros((), device=self.device)
        inputs_BS = batch_BS[:, :-1].clamp(min=0)
        embedded_BSD = self.own_transformer.embedding(inputs_BS).detach()
        origin_BSD = torch.zeros_like(embedded_BSD, requires_grad=True)
        alone = self.objective.no_sync() if averages else nullcontext()  # type: ignore[operator]
        with alone:
            losses = self.objective(batch_BS, origin_BSD)
            losses.total.backward()
        assert origin_BSD.grad is not None
        moved_BSD = within_ball(origin_BSD.grad, embedded_BSD, radius=RADIUS)
        some = slice(None, None, ADVERSARIAL_EVERY)
        distance = Consistency(self.own_transformer)
        consistency = distance(batch_BS[some].contiguous(), moved_BSD[some].contiguous())
        consistency.backward()
        self.parameters.average_gradients()
        return losses, consistency.detach()

    def report(self, window: Window, span: Span) -> Progress:
        read = window.read()
        parts = {"loss": read.loss, "balance loss": read.balance, "gradient norm": read.norm}
        for name, value in parts.items():
            if not math.isfinite(value):
                raise self.diverged(f"the {name} is {value}")
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
        line |= self.batches.report(self.step - 1, span, read.domains_3G)
        if self.config.stages:
            line["consistency"] = read.consistency if span.stage.adversarial else None
        if self.rank == 0:
            append_line(TrainingFolder(self.folder).log, line)
        return Progress(step=self.step, tokens=self.tokens, loss=read.loss, tokens_per_second=rate)

    def require_finite_weights(self) -> None:
        """The loss is of the weights before the step: those after it are not kept unseen."""
        finite = all(weight.isfinite().all() for weight in self.model.module.state_dict().values())
        if self.any_rank(not finite):
            raise self.diverged("a weight is no finite number")

    def diverged(self, what: str) -> DivergedError:
        lower = self.config.learning_rate / 4
        return DivergedError(
            f"{what} by step {self.step}; {self.folder} keeps what was saved before: train in "
            f"another folder with a lower rate, such as --learning-rate {lower:g}"
        )

    def checkpoint(self) -> None:
        if whole := self.parameters.whole():
            save_progress(self.folder, *whole, step=self.step, batches=self.batches.state())
        self.any_rank(False)  # none goes on before it is written
