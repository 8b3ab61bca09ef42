"""A trace between its file and the questions that pages and reports ask of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from analysis import queries
from analysis.queries import TraceInfo
from app import kept, workspace
from app.workspace import PAGE_SECONDS, TraceFile
from data.sidecar import Absent, Sidecar, read_sidecar
from data.sidecar_kind import Kind


@dataclass(frozen=True, slots=True)
class Trace:
    """Handed along whole. Equal and hashable by its file, so it can key a cache."""

    file: TraceFile
    info: TraceInfo
    k_range: tuple[int, int]  # the fewest and the most experts of a token; 0 without tokens

    unit = "group"  # of documents: what intervals and tests take as one piece of evidence

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.file == other.file

    def __hash__(self) -> int:
        return hash(self.file)

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def identity(self) -> str:
        return self.file.identity

    @property
    def domains(self) -> tuple[str, ...]:
        return self.info.domains

    @property
    def not_kept(self) -> list[str]:
        """What its capture left out, a line each."""
        return kept.in_words(self.info.config, self.info.num_layers)

    @property
    def k_varies(self) -> bool:
        """From token to token; that layers choose different numbers is no variation."""
        least, most = self.k_range
        return least < most and any(layer.top_k is None for layer in self.info.layers)

    @property
    def layers(self) -> range:
        return range(self.info.num_layers)

    @contextmanager
    def cursor(self, *, seconds: float = PAGE_SECONDS) -> Iterator[DuckDBPyConnection]:
        with workspace.cursor(self.file, seconds=seconds) as con:
            yield con

    def beside(self, kind: Kind) -> Sidecar | Absent:
        """What was computed later of this very trace."""
        return read_sidecar(self.path, kind, of=self.info)


BY_IDENTITY: dict[str | type[Any], Callable[[Any], Any]] = {  # hash_funcs of a cache
    Trace: lambda trace: trace.identity
}


def open_trace(file: TraceFile) -> Trace:
    """ValueError: it is damaged, of another format, or no trace."""
    with workspace.cursor(file) as con:
        info = queries.trace_info(con)
        return Trace(file, info, _k_range(con, info))


def _k_range(con: DuckDBPyConnection, info: TraceInfo) -> tuple[int, int]:
    fixed = [layer.top_k for layer in info.layers if layer.top_k is not None]
    if len(fixed) == info.num_layers:
        return min(fixed), max(fixed)
    k = queries.domain_k(con).k
    return (int(k.min()), int(k.max())) if len(k) else (0, 0)
