"""How long something takes, on the CPU or on a GPU."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch


def median_seconds(once: Callable[[], None], device: str, repeats: int) -> float:
    """After three runs that do not count. On a GPU one after the other, as a model queues them."""
    for _ in range(3):
        once()
    if device == "cuda":
        return statistics.median(queued(once, repeats))
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        once()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def queued(once: Callable[[], None], repeats: int) -> list[float]:
    """Seconds of a GPU between the end of one run and the end of the next."""
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    for end in ends:
        end.record()
        once()
    torch.cuda.synchronize()
    return [one.elapsed_time(other) / 1e3 for one, other in pairwise(ends)]
