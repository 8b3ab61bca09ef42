"""Models in the memory of the process of jobs: loaded once for all browsers, and given up again."""

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.jobs.memory import held, job_memory
from app.jobs.worker import Kept, Progress
from app.studies.model_facts import (
    Loaded,
    Machine,
    loaded,
    own_facts,
    this_machine,
    transformers_facts,
)
from app.studies.reader import Tracer, load_tracer

MODELS = 2  # in memory at once, while together they leave half of it to what runs
LOOK = 0.3  # seconds between looks at how much has been read


def has_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def tracer(progress: Progress, folder: Path, *, chat: bool = False) -> Tracer:
    """Loaded where it is not, or has changed since. `chat`: texts are messages of a user."""
    if not has_model(folder):
        raise ValueError(f"there is no model in {folder}")
    name = str(folder.resolve())
    if name in progress.kept and not is_current(progress.kept[name].described, folder):
        progress.give_up(name)
    kept = progress.kept.get(name) or _load(progress, folder)
    progress.keep(name, kept)
    from model.huggingface.model import HuggingFaceModel

    reader: Tracer = kept.value
    if isinstance(reader.model, HuggingFaceModel):
        return Tracer(folder, reader.model.reading_as(chat=chat))
    return reader


def is_current(described: object, folder: Path) -> bool:
    from model.fingerprint import model_identity

    return isinstance(described, Loaded) and described.identity == model_identity(folder)


def _load(progress: Progress, folder: Path) -> Kept:
    from model.fingerprint import is_transformers

    progress.tell(note=f"looking at {folder.name}")
    machine = this_machine()
    look = transformers_facts(folder) if is_transformers(folder) else own_facts(folder, machine)
    _make_room(progress, look.needed_bytes, machine)
    progress.tell(note=f"loading {folder.name}")
    with _counting(progress, folder.name, look.needed_bytes, machine):
        reader = load_tracer(folder)
    found = loaded(reader)
    return Kept(reader, found.facts.needed_bytes, found)


def _make_room(progress: Progress, needed: int, machine: Machine) -> None:
    """Before anything is read: two large models are never in memory together."""
    most = (machine.memory or job_memory()) / 2

    def together() -> int:
        return needed + sum(one.size for one in progress.kept.values())

    while progress.kept and (len(progress.kept) >= MODELS or together() > most):
        progress.give_up(next(iter(progress.kept)))
    _free()


def _free() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def _counting(progress: Progress, name: str, needed: int, machine: Machine) -> Iterator[None]:
    """Tell how much has been read, by what it takes."""
    ended, before = threading.Event(), _taken(machine)

    def count() -> None:
        done = 0
        while not ended.wait(LOOK):
            done = max(done, min(_taken(machine) - before, needed))
            progress.advance(done >> 20, total=max(needed >> 20, 1), unit=f"MB of {name}")

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        progress.advance(0, total=0)


def _taken(machine: Machine) -> int:
    if machine.device == "cpu":
        return held(os.getpid())
    torch = sys.modules["torch"]
    return int(torch.cuda.memory_allocated())


def load(progress: Progress, folder: Path) -> None:
    tracer(progress, folder)


def unload(progress: Progress, folder: Path) -> None:
    """A process that has given up all ends, which is certain to free what it held."""
    progress.give_up(str(folder.resolve()))
    _free()
