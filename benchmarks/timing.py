"""How long something takes, on the CPU or on a GPU."""

import statistics
import time
from collections.abc import Callable

import torch


def median_seconds(once: Callable[[], None], device: str, repeats: int) -> float:
    """After three runs that do not count."""
    found = []
    for _ in range(3 + repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        once()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[3:])
