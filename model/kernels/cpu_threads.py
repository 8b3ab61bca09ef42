"""Work shared out to threads that compute on a part of the cores each."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

THREADS = 4  # more of them wait for the interpreter

Item = TypeVar("Item")


def in_threads(work: Callable[[Iterator[Item]], None], items: Sequence[Item]) -> None:
    """Calls `work` in a few threads, each of which takes the next of `items` when it has done one
    and computes on its part of the cores that torch uses here."""
    cores = torch.get_num_threads()
    threads = min(cores, THREADS)
    if threads == 1 or len(items) < threads:
        work(iter(items))
        return

    queue = iter(items)

    @torch.inference_mode()
    def one() -> None:
        work(queue)

    for done in [pool(threads, cores).submit(one) for _ in range(threads)]:
        done.result()


@cache
def pool(threads: int, cores: int) -> ThreadPoolExecutor:
    executor = ThreadPoolExecutor(threads)
    all_are_there = Barrier(threads)

    def prepare(place: int) -> None:
        torch.get_num_threads()  # a thread's first call sets it
        torch.set_num_threads((cores + place) // threads)
        all_are_there.wait()

    list(executor.map(prepare, range(threads)))
    torch.set_num_threads(cores)  # for threads that torch meets later
    return executor


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads are not inherited
