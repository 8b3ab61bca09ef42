"""Jobs that start by themselves: the demo trace, and what is computed beside a trace."""

from collections.abc import Callable, Iterable
from functools import partial

from app import cache_kinds, sidecars, word_kinds, workspace
from app.jobs import commands, demo
from app.jobs.job import Job, Place
from app.jobs.queue import all_jobs
from app.studies.summary import wanted
from app.trace import Trace
from data.sidecar import REPLACED, Absent, look_at
from data.sidecar_kind import Kind


def start(trace: Trace) -> None:
    """All that is worth having beside a trace and takes longer than a page."""
    all_jobs().prefer(trace.name)
    summary(trace)
    project(trace)
    information(trace)


def summary(trace: Trace) -> Job | None:
    """Start the tables of a trace unless they are made or were tried; the job if it was started."""
    title, kinds = f"Intervals and tests of {trace.name}", wanted(trace.info)
    return _start(trace, commands.summarize, kinds, summary_key(trace), title, page="overview")


def summary_key(trace: Trace) -> str:
    return f"summary|{trace.identity}"


def project(trace: Trace) -> Job | None:
    """The same for its maps."""
    title, kinds = f"Making the maps of {trace.name}", sidecars.MAPS.values()
    key = f"project|{trace.identity}"
    return _start(trace, commands.project, kinds, key, title, page="domain_clusters")


def information(trace: Trace) -> Job | None:
    """The same for what the domain tells beyond the token."""
    title = f"Computing what the subject adds to the word in {trace.name}"
    key, kinds = f"information|{trace.identity}", sidecars.BY_INFORMATION
    return _start(trace, commands.information, kinds, key, title, page="vocabulary")


def cache(trace: Trace) -> Job | None:
    """The same for caches of experts."""
    title, kinds = f"Replaying caches of experts of {trace.name}", cache_kinds.BY_CACHE
    return _start(trace, commands.cache, kinds, f"cache|{trace.identity}", title, page="cache")


def words(trace: Trace) -> Job | None:
    """The same for the index of its words."""
    title = f"Counting the words of {trace.name}"
    return _start(
        trace, commands.index, word_kinds.BY_INDEX, f"index|{trace.identity}", title, page="search"
    )


def own_demo(trace: Trace) -> Job:
    """This machine's own capture of the demo, whose recording is shown: the newest job of it."""
    return all_jobs().get(f"own|{trace.identity}") or all_jobs().start(
        f"own|{trace.identity}",
        "Capturing the demo on this machine",
        partial(demo.replace_recording, model=workspace.checkpoint(), path=trace.path),
        place=Place("overview", {"trace": trace.name}),
        automatic=True,
    )


def _start(
    trace: Trace,
    command: Callable[..., None],
    kinds: Iterable[Kind],
    key: str,
    title: str,
    *,
    page: str,
) -> Job | None:
    if not _to_make(trace, kinds):
        return None
    return all_jobs().get(key) or all_jobs().start(
        key,
        title,
        partial(command, trace=trace.path),
        place=Place(page, {"trace": trace.name}),
        automatic=True,
    )


def _to_make(trace: Trace, kinds: Iterable[Kind]) -> bool:
    """Whether one is missing or of another trace or version. What is damaged or somebody else's is
    not replaced by itself: pages say what it is."""
    looked = [look_at(trace.path, kind, of=trace.info) for kind in kinds]
    reasons = {one.reason for one in looked if isinstance(one, Absent)}
    return bool(reasons) and reasons <= REPLACED
