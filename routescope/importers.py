"""Dumps of other tools, from Python.

    dump = read("recorder/", num_experts=64)
    for batch in dump: ...                      # RoutingBatches as a trace takes them, checked
    print(dump.findings)                        # the integrity report, whole after the last batch

`docs/formats.md` lists the formats; `write` makes a trace of them.
"""

from pathlib import Path
from typing import Any

from data.importers.importing import Dump
from data.importers.source import Options
from data.store import TraceStore

__all__ = ["Dump", "Options", "read", "write"]


def read(path: str | Path, *more: str | Path, format: str | None = None, **options: Any) -> Dump:
    """Files and folders of one dump. `options`: those of Options, such as num_experts.

    ValueError: it is of no format that is known, not sound, or an option is missing.
    """
    return Dump([Path(path), *map(Path, more)], Options(**options), format=format)


def write(dump: Dump, out: str | Path) -> None:
    """A trace of it. ValueError: what was read cannot be right, or `out` is taken."""
    path = Path(out)
    with TraceStore.create(path, dump.description(path.stem)) as store:
        for batch in dump:
            store.write(batch)
