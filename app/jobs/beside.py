"""Jobs that start by themselves: the demo trace, and what is computed beside a trace."""

import shutil
import sys

from app.jobs import queue
from app.jobs.queue import Job, all_jobs
from app.trace import Trace
from data.sidecar import sidecar_parameters, sidecar_path

PROJECTIONS = ("tokens", "prompts", "experts")
COMMAND = (sys.executable, "-P", "-m", "routescope")  # -P: a file of the folder hides no module


def start(trace: Trace) -> None:
    """All that is worth having beside a trace and takes longer than a page."""
    project(trace)
    information(trace)


def project(trace: Trace) -> Job | None:
    """Start the projection of a trace unless it is made or was tried; the job if it was started.

    Maps of an earlier version, whose domains were shuffled over points, are made again.
    """
    if all(_is_current(trace, what) for what in PROJECTIONS):
        return None
    key = f"project|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key, "Making the maps", lambda job: _run(job, trace, "project"), lane="projection"
    )


def _is_current(trace: Trace, what: str) -> bool:
    parameters = sidecar_parameters(trace.path, what)
    return parameters is not None and "groups" in parameters


def information(trace: Trace) -> Job | None:
    """The same for what the domain tells beyond the token."""
    if sidecar_path(trace.path, "information").is_file():
        return None
    key = f"information|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key,
        "Computing what the subject adds to the word",
        lambda job: _run(job, trace, "information"),
        lane="projection",
    )


def _run(job: Job, trace: Trace, command: str) -> None:
    """In a separate process, so that numba's threads cannot slow the pages and cancelling really
    stops it."""
    slower = ("nice", "-n", "10") if shutil.which("nice") else ()
    queue.run_command(job, [*slower, *COMMAND, command, str(trace.path)])
