"""What an importer is: it recognizes the files of a format and gives their routing, as it stands in
them. Whether that can be right is asked once, for all formats, in `integrity.py`.

T = tokens, L = MoE layers, K = most experts any token chose, E = routed experts, P = physical
experts, N = documents.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from data.counts import CountsBatch
from data.new_trace import TraceDescription
from data.routing import UNKNOWN, Finding, LayerDescription, RoutingBatch

HEAD = 65_536  # bytes by which a file is recognized
BATCH_CHOICES = 1_000_000  # of a batch, about: bounds memory


@dataclass(frozen=True, slots=True)
class DumpFile:
    """A file to import. Messages and origins call it by `name`: relative to the folder given."""

    path: Path
    name: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def head(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                return file.read(HEAD)
        except OSError as error:
            raise ValueError(f"cannot read {self.name}: {error.strerror}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user says that a file cannot. Each is asked for by name where it is needed."""

    num_experts: int | None = None  # routed, of every layer
    top_k: int | None = None
    layers: str | None = None  # "moe": every layer of the file is one; "all": dense ones are zero
    tokenizer: Path | None = None  # a tokenizer.json, or a folder with one
    physical_map: Path | None = None  # physical to logical experts
    prompts: Path | None = None  # texts, domains and groups of the documents
    domain_from: str | None = None  # "origin", "folder", or a file of names and domains
    allow_nonfinite: bool = False

    def require(self, name: str, file: DumpFile, why: str) -> int:
        """The number that the user gave. ValueError asks for it; `why` follows the file's name."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{file.name} {why}; give --{name.replace('_', '-')}")
        return int(value)


class Meter:
    """How many bytes of the files have been read. Readers add to it; a progress bar asks."""

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.done = 0

    def advance(self, read: int) -> None:
        self.done += read


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files of one format, opened: what is known before their routing is read."""

    format: str  # name of the importer, as --format takes it
    engine: str  # what wrote the files: sglang, vllm, megatron-core, ...
    layers: tuple[LayerDescription, ...]  # the batches' layer axis, dense ones too
    batches: Callable[[Meter], Iterator[RoutingBatch | CountsBatch]]  # ids as they stand there
    model_name: str = UNKNOWN
    tokenizer: str = UNKNOWN
    config: dict[str, object] = field(default_factory=dict)  # what else the files say of the model
    counts_only: bool = False
    top_k_known: bool = True  # a decision of fewer choices is wrong; False: their number varies
    physical_map_LP: np.ndarray | None = None  # where ids are physical: their experts
    weights_sum: str | None = None  # "one", or "at most one" of raw probabilities; None: not known
    ranked: bool = True  # choices come largest weight first, where weights are known
    findings: tuple[Finding, ...] = ()  # that hold for all of it
    described: TraceDescription | None = None  # of a trace that was checked when it was written


class Importer(Protocol):
    """A module of this folder."""

    NAME: str  # as --format takes it
    TITLE: str  # of the list in docs/formats.md

    def recognizes(self, file: DumpFile, head: bytes) -> bool:
        """By its content; the name alone decides nothing. Never raises."""

    def source(self, files: Sequence[DumpFile], options: Options) -> Source:
        """ValueError: they do not fit the format, or each other, or an option is missing: the
        file, the place, what was found and what is expected. Reads no more than it must."""


def undescribed(
    num_layers: int,
    *,
    num_experts: int,
    top_k: int | None,
    first: int = 0,
    scoring: str = UNKNOWN,
    weighting: str = UNKNOWN,
) -> tuple[LayerDescription, ...]:
    """Layers of which a file says no more, named by their place in the model, from `first`."""
    return tuple(
        LayerDescription(
            name=f"layers.{place}",
            num_experts=num_experts,
            num_shared_experts=0,
            top_k=top_k,
            scoring=scoring,
            weighting=weighting,
            selection=UNKNOWN,
        )
        for place in range(first, first + num_layers)
    )


def dump_files(paths: Sequence[Path]) -> list[DumpFile]:
    """Files and folders as a user names them, folders with all that lies below, in order of name.

    ValueError: there is none, or a folder is empty.
    """
    files: list[DumpFile] = []
    seen: set[str] = set()
    for path in paths:
        if path.is_dir():
            names = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file()]
            below = [
                DumpFile(path / name, shown_name(name))
                for name in names
                if not any(part.startswith(".") for part in name.parent.parts)
            ]
            if not below:
                raise ValueError(f"{path} is a folder without any file; name one with a dump in it")
            files += below
        elif path.is_file():
            files.append(DumpFile(path, shown_name(Path(path.name))))
        elif os.path.lexists(path):
            raise ValueError(f"{path} is no plain file; save what it gives as one")
        else:
            raise ValueError(f"there is no file or folder {path}")
    for file in files:
        real = os.path.realpath(file.path)
        if real in seen:
            raise ValueError(f"{file.name} is given twice; name each file once")
        seen.add(real)
    return files


def shown_name(path: Path) -> str:
    """As messages and origins write it, on one line. ValueError: it is not UTF-8."""
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!a} is a name that is not UTF-8; rename the file") from None
    return "".join(one if one.isprintable() else "\ufffd" for one in name)
