"""Seconds of several ways, in turns."""

import time
from collections.abc import Callable

import torch


@torch.inference_mode()
def interleaved(
    variants: dict[str, Callable[[], None]], repetitions: int, device: torch.device | None = None
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds of every variant, in turns, after one round to warm up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for repetition in range(repetitions + 1):
        for name, variant in variants.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            variant()
            if device is not None and device.type == "cuda":
                torch.cuda.synchronize()
            if repetition:
                wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
                seconds[name].append((wall, cpu))
    return seconds
