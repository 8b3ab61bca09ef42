"""The progress bar of the command line: on a terminal, and of several processes the first's."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    def __call__(self, done: int, total: int, text: str = "") -> None:
        """`text`: how fast, or what else is to be said of the moment."""


@contextmanager
def progress_bar(unit: str) -> Iterator[Advance]:
    """What is counted, how many of how many, how long it will take."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal or os.environ.get("RANK", "0") != "0"  # as torchrun numbers
    with Progress(*columns, console=console, disable=hidden) as progress:
        task = progress.add_task(unit, total=None, text="")

        def advance(done: int, total: int, text: str = "") -> None:
            progress.update(task, completed=done, total=total, text=text)

        yield advance


@contextmanager
def documents_bar() -> Iterator[Callable[[int, int, int], None]]:
    """Of a capture: takes tokens done, documents done and documents in all."""
    started = time.perf_counter()
    with progress_bar("documents") as advance:

        def count(tokens: int, done: int, total: int) -> None:
            advance(done, total, f"{tokens / (time.perf_counter() - started):,.0f} tokens/s")

        yield count
