"""What a loop of one's own needs to write a trace, and to open one."""

from data.counts import CountsBatch
from data.new_trace import TraceDescription
from data.routing import (
    DECODE,
    NO_EXPERT,
    PREFILL,
    Document,
    Finding,
    LayerDescription,
    RoutingBatch,
)
from data.store import TraceStore, open_trace

__all__ = [
    "DECODE",
    "NO_EXPERT",
    "PREFILL",
    "CountsBatch",
    "Document",
    "Finding",
    "LayerDescription",
    "RoutingBatch",
    "TraceDescription",
    "TraceStore",
    "open_trace",
]
