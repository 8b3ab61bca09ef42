"""The demo as it was captured for a release: there at the first start, until the machine has made
its own.

Shipped are the experts of every decision and all that lies beside the trace, but no weights.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis import queries
from analysis.queries import TraceInfo
from app.folders import SHIPPED
from app.sidecars import KINDS
from app.studies.shipped_causes import adopt
from data.outputs import alone_in
from data.recording import KEY, different_decisions, mark, opened, pack, unpack
from data.sidecar import Absent, Reason, look_at, sidecar_path
from data.sidecar_kind import Kind
from data.store import open_trace
from data.words import counted

FOLDER = SHIPPED / "data" / "demo"
TRACE, RECORDING = "demo.duckdb", "demo.duckdb.zst"
DIFFERENT, DECISIONS = "different", "decisions"  # of a capture that was held against it


def record(trace: Path, folder: Path = FOLDER) -> list[str]:
    """Ship a demo and what lies beside it in place of what was shipped. The names of its files."""
    if trace.name != TRACE:
        raise ValueError(f"{trace.name} is not shipped, {TRACE} is; give that one")
    with open_trace(trace) as con:
        info = queries.trace_info(con)
    beside = list(_whole(trace, KINDS, info))
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    pack(trace, folder / RECORDING)
    for path in beside:
        shutil.copyfile(path, folder / path.name)
    return sorted(path.name for path in folder.iterdir())


def lay_down(path: Path, model: Path, *, folder: Path = FOLDER) -> bool:
    """The recording as the trace `path`, with what lies beside it; False: it is of other weights
    than the model in that folder, or there is none."""
    from model.fingerprint import model_sha256

    if not (folder / RECORDING).is_file():
        return False
    with alone_in(path.parent), _scratch(path) as scratch:
        if path.exists():  # another tab, or another server
            return path.is_file()
        trace = scratch / path.name
        unpack(folder / RECORDING, trace)
        with opened(trace) as con:
            info = queries.trace_info(con)
        if info.model_sha256 != model_sha256(model):
            return False
        for kind in KINDS:
            shipped = sidecar_path(folder / TRACE, kind)
            if shipped.is_file() and not _is_foreign(path, kind, info):
                shutil.copyfile(shipped, scratch / shipped.name)
                os.replace(scratch / shipped.name, sidecar_path(path, kind))
        trace.rename(path)  # last: who finds it finds all of it
    return True


def is_recording(info: TraceInfo) -> bool:
    told = info.config.get(KEY)
    return isinstance(told, dict) and DIFFERENT not in told


def replace(path: Path, own: Path, model: Path, *, complete: Callable[[Path], None]) -> bool:
    """This machine's own capture instead of the recording at `path`. Where all of its choices are
    those of the recording it takes its id, and what lies beside it stays; else `complete` makes
    what lies beside it first, so that nothing that was shown is gone. False: somebody else has put
    another trace there meanwhile."""
    with open_trace(path, rows=False) as con:
        released = queries.trace_info(con)
    if not is_recording(released):
        return False
    different, decisions = different_decisions(path, own)
    same_id = None if different else released.trace_id
    mark(own, {DIFFERENT: different, DECISIONS: decisions}, trace_id=same_id)
    made: list[Kind] = []
    if different:
        adopt(model, own)
        complete(own)
        with open_trace(own, rows=False) as con:
            info = queries.trace_info(con)
        made = [kind for kind in KINDS if sidecar_path(own, kind).is_file()]
        made = [kind for kind in made if not _is_foreign(path, kind, info)]
    with _scratch(path) as scratch:
        new = scratch / path.name
        for kind in made:
            shutil.copyfile(sidecar_path(own, kind), sidecar_path(new, kind))
        shutil.copyfile(own, new)
        for kind in made:
            os.replace(sidecar_path(new, kind), sidecar_path(path, kind))
        os.replace(new, path)
    return True


def compared(info: TraceInfo) -> str:
    """What a machine's own demo has to do with the recording; empty: it was never held against
    one."""
    told = info.config.get(KEY)
    numbers = [told.get(name) for name in (DIFFERENT, DECISIONS)] if isinstance(told, dict) else []
    if not numbers or not all(type(number) is int and number >= 0 for number in numbers):
        return ""
    different, decisions = numbers
    if not different:
        return "Every choice as recorded for the release"
    of = counted(decisions, "decision", "decisions")
    return f"{different:,} of {of} are not those recorded for the release"


def _whole(trace: Path, kinds: Iterable[Kind], info: TraceInfo) -> Iterator[Path]:
    for kind in kinds:
        if not isinstance(look_at(trace, kind, of=info), Absent):
            yield sidecar_path(trace, kind)


def _is_foreign(trace: Path, kind: Kind, info: TraceInfo) -> bool:
    found = look_at(trace, kind, of=info)
    return isinstance(found, Absent) and found.reason is Reason.FOREIGN


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A folder beside a trace, from which a file can be moved to it in one step."""
    with tempfile.TemporaryDirectory(
        prefix=f".{path.stem}.", suffix=".saving", dir=path.parent
    ) as folder:
        yield Path(folder)
