"""Jobs that start by themselves: the demo trace, and what is computed beside a trace."""

from collections.abc import Iterable
from functools import partial

from app import cache_kinds, sidecars
from app.jobs import commands
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
    if not _to_make(trace, wanted(trace.info)):
        return None
    key = summary_key(trace)
    return all_jobs().get(key) or all_jobs().start(
        key,
        f"Intervals and tests of {trace.name}",
        partial(commands.summarize, trace=trace.path),
        place=Place("overview", {"trace": trace.name}),
        automatic=True,
    )


def summary_key(trace: Trace) -> str:
    return f"summary|{trace.identity}"


def project(trace: Trace) -> Job | None:
    """Start the projection of a trace unless it is made or was tried; the job if it was started."""
    if not _to_make(trace, sidecars.MAPS.values()):
        return None
    key = f"project|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key,
        f"Making the maps of {trace.name}",
        partial(commands.project, trace=trace.path),
        place=Place("domain_clusters", {"trace": trace.name}),
        automatic=True,
    )


def information(trace: Trace) -> Job | None:
    """The same for what the domain tells beyond the token."""
    if not _to_make(trace, sidecars.BY_INFORMATION):
        return None
    key = f"information|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key,
        f"Computing what the subject adds to the word in {trace.name}",
        partial(commands.information, trace=trace.path),
        place=Place("vocabulary", {"trace": trace.name}),
        automatic=True,
    )


def cache(trace: Trace) -> Job | None:
    """The same for caches of experts."""
    if not _to_make(trace, cache_kinds.BY_CACHE):
        return None
    key = f"cache|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key,
        f"Replaying caches of experts of {trace.name}",
        partial(commands.cache, trace=trace.path),
        place=Place("cache", {"trace": trace.name}),
        automatic=True,
    )


def _to_make(trace: Trace, kinds: Iterable[Kind]) -> bool:
    """Whether one is missing or of another trace or version. What is damaged or somebody else's is
    not replaced by itself: pages say what it is."""
    looked = [look_at(trace.path, kind, of=trace.info) for kind in kinds]
    reasons = {one.reason for one in looked if isinstance(one, Absent)}
    return bool(reasons) and reasons <= REPLACED
