"""The files of a training by name, whether they changed, and how far the training is."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SILENCE = 120  # seconds after the last line of the log until a training counts as stopped

State = Literal["running", "stopped", "finished"]


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """What `routescope train` writes, and `routescope model ship` beside its dense twin."""

    path: Path

    @property
    def settings(self) -> Path:
        """Written when the training begins."""
        return self.path / "train_config.json"

    @property
    def log(self) -> Path:
        return self.path / "train_log.jsonl"

    @property
    def progress(self) -> Path:
        """What an exact resume needs."""
        return self.path / "progress.safetensors"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots.safetensors"

    @property
    def model_config(self) -> Path:
        """Written with the weights, when the training ends."""
        return self.path / "config.json"

    @property
    def evaluation(self) -> Path:
        """Bits per byte of the weights."""
        return self.path / "evaluation.json"

    @property
    def dense(self) -> "TrainingFolder":
        """Of the dense twin: shipped with its log and settings alone."""
        return TrainingFolder(self.path / "dense")

    @property
    def state(self) -> State:
        if self.model_config.is_file():
            return "finished"
        silent = time.time() - self.log.stat().st_mtime > SILENCE
        return "stopped" if silent else "running"

    @property
    def identity(self) -> str:
        """Equal only while whatever tells of the training is the same, so it can key a cache."""
        files = (self.settings, self.log, self.dense.log, self.snapshots, self.evaluation)
        return file_identity(*files)


def file_identity(*files: Path) -> str:
    """Of files that may not be there: equal only while all are the same."""
    stats = {str(path): path.stat() for path in files if path.exists()}
    return "|".join(f"{path}|{file.st_mtime_ns}|{file.st_size}" for path, file in stats.items())
