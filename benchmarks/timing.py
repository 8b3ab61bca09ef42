"""How long something takes, on the CPU or on a GPU."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch


def median_seconds(once: Callable[[], object], device: str, repeats: int) -> float:
    return medians({"it": once}, device, repeats)["it"]


def medians(
    ways: Mapping[str, Callable[[], object]], device: str, repeats: int, *, warm_up: int = 3
) -> dict[str, float]:
    """Seconds of each way, after `warm_up` runs that do not count.

    On a GPU one way after the other, queued as a model queues them; on a CPU all in turn.
    """
    for _ in range(warm_up):
        for once in ways.values():
            once()
    if device == "cuda":
        found = {name: queued(once, repeats) for name, once in ways.items()}
    else:
        found = in_turn(ways, repeats)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def queued(once: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of a GPU between the end of one run and the end of the next."""
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    for end in ends:
        end.record()
        once()
    torch.cuda.synchronize()
    return [one.elapsed_time(other) / 1e3 for one, other in pairwise(ends)]


def in_turn(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Every round runs all ways, in an order drawn anew: what else the machine does meets all."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    order = random.Random(0)
    for _ in range(repeats):
        for name, once in order.sample(list(ways.items()), len(ways)):
            began = time.perf_counter()
            once()
            found[name].append(time.perf_counter() - began)
    return found
