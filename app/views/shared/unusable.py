"""What lies beside a trace and cannot be used, on the pages that would show it."""

from app import stored
from app.trace import Trace
from app.views.shared import limits
from data.sidecar import REPLACED, Absent
from data.sidecar_kind import Kind


def draw_unusable(trace: Trace, *kinds: Kind) -> None:
    """A line on each result that is damaged or somebody else's: it is not made again by itself."""
    present = [stored.look(trace, kind) for kind in kinds]
    lines = [one.line for one in present if isinstance(one, Absent) and one.reason not in REPLACED]
    if lines:
        limits.draw_lines(lines)
