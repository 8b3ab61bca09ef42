"""Trainings of a few steps; also what each process runs under torchrun."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.config import ModelConfig
from model.training.batches import PlainBatches
from model.training.curriculum import StagedBatches
from model.training.own_model import OwnModel
from model.training.snapshots import Sample
from model.training.stages import Stage
from model.training.train_config import TrainConfig
from model.training.trainer import Progress, Trainer
from model.transformer import Transformer
from tests.models import small_config, small_dsr

SCHEDULE = TrainConfig(
    steps=6, batch_size=4, learning_rate=1e-2, warmup_steps=2, log_every=1, checkpoint_every=100
)
BIASED = replace(small_config(), balancing="bias", expert_loss_weight=0.0)


def batch_of(step: int) -> np.ndarray:
    batch_BS = even_batch_of(step)
    batch_BS[0, 9:] = -1  # padding
    return batch_BS


def even_batch_of(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 32, size=(4, 17))


def trained(
    folder: Path,
    *,
    config: ModelConfig | None = None,
    stop_after: int | None = None,
    batches: Callable[[int], np.ndarray] = batch_of,
    parallel: bool = False,
) -> list[float]:
    """Train until finished or `stop_after` steps; the losses in the log."""
    model = Transformer(config or small_config())
    sample = Sample(np.arange(32).reshape(2, 16), np.array([0, 1]), ("a", "b"))
    trainer = Trainer(
        OwnModel(model),
        SCHEDULE,
        folder,
        batches=PlainBatches(batches),
        sample=sample,
        parallel=parallel,
    )
    reports: list[Progress] = []
    trainer.run(
        on_progress=reports.append,
        should_stop=lambda: stop_after is not None and trainer.step >= stop_after,
    )
    return losses(folder)


def logged(folder: Path) -> list[dict[str, Any]]:
    log = (folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in log]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in logged(folder)]


class Repeated:
    """Two domains, one of which is easy: one token over and over."""

    domains: tuple[str, ...] = ("easy", "hard")
    corpus_G = np.array([0.5, 0.5])

    def batch(self, domain_B: np.ndarray, drawn_G: np.ndarray, length: int) -> np.ndarray:
        rng = np.random.default_rng(int(drawn_G.sum()))
        ids_BS = rng.integers(0, 32, size=(len(domain_B), length + 1))
        ids_BS[domain_B == 0] = 7
        return ids_BS


STAGED = TrainConfig(
    steps=9,
    batch_size=4,
    learning_rate=1e-2,
    warmup_steps=2,
    log_every=2,
    checkpoint_every=100,
    stages=(
        Stage(name="first", percent=50, min_k=1, max_k=2, curriculum=True),
        Stage(name="second", percent=50, batch=0.5, min_k=3, max_k=6, adversarial=True),
    ),
)


def staged(
    folder: Path, *, stop_after: int | None = None, parallel: bool = False
) -> list[dict[str, Any]]:
    """The log of a training in two stages: 4 steps, then 9 of half the batch."""
    model = Transformer(small_dsr())
    sample = Sample(np.arange(32).reshape(2, 16), np.array([0, 1]), ("easy", "hard"))
    batches = StagedBatches(Repeated(), context_length=16, seed=STAGED.seed)
    trainer = Trainer(
        OwnModel(model), STAGED, folder, batches=batches, sample=sample, parallel=parallel
    )
    trainer.run(
        on_progress=lambda progress: None,
        should_stop=lambda: stop_after is not None and trainer.step >= stop_after,
    )
    return logged(folder)


def train_side_by_side(folder: Path) -> None:
    """What each of two processes does: copies of the experts, and experts spread."""
    trained(folder / "copied")
    trained(folder / "spread", parallel=True)
    trained(folder / "even", config=BIASED, batches=even_batch_of, parallel=True)
    trained(folder / "cut", stop_after=3, parallel=True)
    trained(folder / "left", stop_after=3, parallel=True)
    trained(folder / "cut", parallel=True)
    trained(folder / "taken", config=BIASED, batches=even_batch_of, parallel=True)
    staged(folder / "staged copied")
    staged(folder / "staged spread", parallel=True)


if __name__ == "__main__":
    train_side_by_side(Path(sys.argv[1]))
