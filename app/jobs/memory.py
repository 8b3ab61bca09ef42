"""How much memory a job may take, so that it fails before the machine and the server do."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

SHARE = 0.4  # of the machine's memory, or of what its container may use: a job and a paused one fit
CGROUPS = Path("/sys/fs/cgroup")

TAKEN = re.compile(r"^(?:anon|total_rss) (\d+)$", re.MULTILINE)
HELD = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)


def too_little(memory: int) -> str:
    return f"it needed more than the {memory / 1e9:.1f} GB of memory that a job may take"


def held(process_id: int) -> int:
    """Bytes of its own, shared mappings too, which no limit of the system counts; files that it
    maps cost nothing. 0 where the system does not say."""
    status = Path(f"/proc/{process_id}/status")
    try:
        return 1024 * sum(map(int, HELD.findall(status.read_text())))
    except OSError:
        return 0


def job_memory() -> int:
    """In bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(SHARE * min([machine, *limits(CGROUPS, Path("/proc/self/cgroup"))]))


def limits(root: Path, membership: Path, *, left: bool = False) -> Iterator[int]:
    """Of the control groups of this process and those around them, versions 1 and 2; with `left`
    what is not used of them."""
    lines = membership.read_text().splitlines() if membership.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            place = root / controllers / path.lstrip("/")
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            for folder in (place, *place.parents):
                if folder.is_relative_to(root / controllers) and (folder / name).is_file():
                    text = (folder / name).read_text().strip()
                    if text.isdigit():  # or "max"
                        yield int(text) - (taken(folder) if left else 0)


def taken(group: Path) -> int:
    """Bytes of a control group that cannot be given back, as a cache of files can."""
    counts = group / "memory.stat"
    found = TAKEN.search(counts.read_text()) if counts.is_file() else None
    return int(found[1]) if found else 0


def free_memory() -> int | None:
    """Bytes that a process may take: what the machine has free, or its container, or this process's
    own limit; None where the system does not say."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo(), re.MULTILINE)
    if found is None:
        return None
    own = resource.getrlimit(resource.RLIMIT_DATA)[0]
    bounds = [] if own == resource.RLIM_INFINITY else [own - held(os.getpid())]
    return min(
        [1024 * int(found[1]), *bounds, *limits(CGROUPS, Path("/proc/self/cgroup"), left=True)],
    )


def meminfo() -> str:
    path = Path("/proc/meminfo")
    return path.read_text() if path.is_file() else ""
