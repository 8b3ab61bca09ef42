"""One capture by the processes of torchrun: each reads its part of the texts, all share experts.

Every rank writes a trace of its own into a folder beside the one that is asked for; rank 0 merges
them there, and the whole trace takes its place in one rename.
"""

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.kept import Kept
from app.studies.reader import Sampling, Tracer, own_model
from data.merge import merge_traces
from data.new_trace import TraceDescription
from data.routing import Document
from data.store import TraceStore
from data.trace_paths import require_free

if TYPE_CHECKING:
    from model.capture import Captured
    from model.parallel.ranks import Ranks


def capture_in_parallel(
    ranks: "Ranks",
    tracer: Tracer,
    documents: Iterable[Document],
    out: Path,
    description: TraceDescription,
    *,
    kept: Kept,
    sampling: Sampling | None,
    allow_nonfinite: bool = False,
    on_progress: Callable[[int, int], None],
) -> "Captured":
    """Read this rank's documents with a spread model; what all ranks have done, `out` written."""
    from model.capture import Captured
    from model.parallel.expert_parallel import serve

    with shards(ranks, out) as folder:
        with TraceStore.create(folder / f"{ranks.rank}.duckdb", description) as store:
            captured = tracer.capture(
                documents,
                kept.sink(store, description),
                sampling=sampling,
                allow_nonfinite=allow_nonfinite,
                on_progress=on_progress,
            )
            transformer = own_model(tracer).transformer
            serve(transformer, top_k=transformer.config.top_k)
        names, counts = zip(*asdict(captured).items(), strict=True)
        totals = ranks.totals(list(counts))  # every rank's trace is complete
        if ranks.rank == 0:
            whole = folder / out.name
            paths = [folder / f"{rank}.duckdb" for rank in range(ranks.size)]
            merge_traces(paths, whole, all_parts=False)  # the prompts may be one part of several
            require_free(out)
            whole.rename(out)
    return Captured(**dict(zip(names, totals, strict=True)))


@contextmanager
def shards(ranks: "Ranks", out: Path) -> Iterator[Path]:
    """A folder for the ranks' traces. It goes when rank 0 has what it needs; after an error, when
    the last rank has left it."""
    from model.parallel.ranks import ignore_stop

    number = secrets.randbits(32) if ranks.rank == 0 else 0  # another for every capture
    folder = out.with_name(f"{out.name}.{ranks.totals([number])[0]:08x}.ranks")
    with ranks.agreeing():
        make_folder(folder)
    try:
        yield folder
    except BaseException:
        ignore_stop()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if ranks.rank == 0:
        shutil.rmtree(folder)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write beside {folder}: {error.strerror}") from error
