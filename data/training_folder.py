"""The files of a training by name, whether they changed, and how far the training is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.outputs import partial_path, require_new_folder, require_unfinished
from data.strict_json import read_object

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
    def weights(self) -> list[Path]:
        """Config and shards of the finished model; the config is written last."""
        return sorted([*self.path.glob("model-*.safetensors"), *self.path.glob("config.json")])

    def require_begun_with(self, settings: Mapping[str, object], *, unsaved_lines: int) -> None:
        """Refuses to train where anything else lies than this training, or nothing.

        Without progress it begins anew, if its log has no more lines than are written before the
        first checkpoint: else the progress was taken away, and the log would be replaced.
        """
        if not self.settings.is_file():
            return require_new_folder(self.path)
        if not self.progress.is_file() and (self.weights or self._lines > unsaved_lines):
            raise ValueError(
                f"{self.path} holds a training without {self.progress.name}, so it cannot be "
                "continued, and it is not replaced; choose another folder"
            )
        begun = read_object(self.settings, remedy="restore it")
        begun.setdefault("corpus", settings.get("corpus"))  # of before: not on record
        if changed := sorted(key for key in settings if begun.get(key) != settings[key]):
            raise ValueError(
                f"{self.path} holds a training with other settings ({', '.join(changed)}); "
                "continue it with its own settings or choose another folder"
            )

    @property
    def _lines(self) -> int:
        return self.log.read_bytes().count(b"\n") if self.log.is_file() else 0

    def remove_partials(self) -> None:
        """What a killed training was writing."""
        told = (self.settings, self.log, self.evaluation)
        for file in (*told, self.progress, self.snapshots, self.model_config):
            require_unfinished(partial_path(file))
            partial_path(file).unlink(missing_ok=True)
        for file in self.path.glob(".tmp??????"):  # where safetensors writes before it renames
            file.unlink()

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
