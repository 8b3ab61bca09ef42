"""A model from the Hugging Face hub, as a job."""

import threading
from pathlib import Path
from typing import Any

from app import hub
from app.jobs.worker import Progress

COUNTED = "huggingface_hub.snapshot_download"  # the bar of bytes that are on disk, as it is named


def run(progress: Progress, name: str) -> Path:
    if not hub.is_allowed():
        raise ValueError("this server downloads nothing: start it with --allow-hub")
    if not hub.is_name(name):
        raise ValueError(f"{name[:80]!r} is no name on the hub; give ORGANIZATION/NAME")
    progress.tell(note="asking the Hugging Face hub")
    return hub.download(name, progress_bar=bar(progress))


def bar(progress: Progress) -> type[Any]:
    """What the hub's client counts bytes with."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    telling = threading.Lock()  # it downloads several files at once

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.counts = options.pop("name", "") == COUNTED
            super().__init__(*arguments, **options | {"disable": False, "file": Silent()})

        def display(self, *arguments: Any, **options: Any) -> None:
            """Called now and then, not at every byte."""
            if self.counts and self.total:
                with telling:
                    progress.checkpoint()
                    done, total = int(self.n) >> 20, max(int(self.total) >> 20, 1)
                    progress.advance(min(done, total), total=total, unit="MB")

    return Bar


class Silent:
    """Where a bar would be written."""

    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...
