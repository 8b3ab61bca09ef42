"""What lies beside a trace and cannot be used, on the pages that would show it."""

from app import evidence
from app.trace import Trace
from data.sidecar import REPLACED, Absent
from data.sidecar_kind import Kind


def draw_unusable(trace: Trace, *kinds: Kind) -> None:
    """A line on each result that is damaged or somebody else's: it is not made again by itself."""
    present = [trace.beside(kind) for kind in kinds]
    lines = [one.line for one in present if isinstance(one, Absent) and one.reason not in REPLACED]
    if lines:
        evidence.draw_lines(lines)
