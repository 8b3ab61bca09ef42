"""A training of six steps; also what each process runs under torchrun."""

import json
import sys
from pathlib import Path

import numpy as np

from model.config import ModelConfig
from model.training.snapshots import Sample
from model.training.train_config import TrainConfig
from model.training.trainer import Progress, Trainer
from model.transformer import Transformer
from tests.models import small_config

SCHEDULE = TrainConfig(
    steps=6, batch_size=4, learning_rate=1e-2, warmup_steps=2, log_every=1, checkpoint_every=100
)


def batch_of(step: int) -> np.ndarray:
    batch_BS = np.random.default_rng(step).integers(0, 32, size=(4, 17))
    batch_BS[0, 9:] = -1  # padding
    return batch_BS


def trained(
    folder: Path, *, config: ModelConfig | None = None, stop_after: int | None = None
) -> list[float]:
    """Train until finished or `stop_after` steps; the losses in the log."""
    model = Transformer(config or small_config())
    sample = Sample(np.arange(32).reshape(2, 16), np.array([0, 1]), ("a", "b"))
    trainer = Trainer(model, SCHEDULE, folder, batches=batch_of, sample=sample)
    reports: list[Progress] = []
    trainer.run(
        on_progress=reports.append,
        should_stop=lambda: stop_after is not None and trainer.step >= stop_after,
    )
    log = (folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in log]


if __name__ == "__main__":
    trained(Path(sys.argv[1]))
