"""Items are taken once each, by threads that share the cores."""

import multiprocessing
import os
import runpy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from model.kernels import cpu_threads
from model.kernels.cpu_threads import THREADS, in_threads


@pytest.fixture(autouse=True, params=[1, 2, 3, 6, 11])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_item_is_taken_once() -> None:
    taken: list[int] = []
    in_threads(taken.extend, range(1_000))
    assert sorted(taken) == list(range(1_000))


def test_the_threads_share_all_cores_and_leave_those_of_others_alone(cores: int) -> None:
    threads = min(cores, THREADS)
    together = threading.Barrier(threads)
    counted = []

    def count(items: Iterator[int]) -> None:
        counted.append(torch.get_num_threads())
        together.wait(timeout=10)
        list(items)

    in_threads(count, range(THREADS))
    assert len(counted) == threads
    assert sum(counted) == cores
    assert max(counted) - min(counted) <= 1
    assert torch.get_num_threads() == cores
    with ThreadPoolExecutor(1) as new:
        assert new.submit(torch.get_num_threads).result() == cores


def test_few_items_get_all_cores_one_after_the_other(cores: int) -> None:
    counted: list[int] = []
    in_threads(lambda items: counted.extend(torch.get_num_threads() for _ in items), range(1))
    in_threads(lambda items: counted.extend(items), [])
    assert counted == [cores]


def test_an_error_in_a_thread_is_the_callers() -> None:
    def fail(items: Iterator[int]) -> None:
        for item in items:
            assert item != 37

    with pytest.raises(AssertionError):
        in_threads(fail, range(100))
    taken: list[int] = []
    in_threads(taken.extend, range(100))  # and the threads live on
    assert len(taken) == 100


def _sum_in_child() -> None:
    taken: list[int] = []
    in_threads(taken.extend, range(100))
    raise SystemExit(0 if sum(taken) == 4950 else 1)


@pytest.mark.filterwarnings("ignore:.*fork")  # this is the case that Python warns of
def test_a_forked_process_starts_threads_of_its_own() -> None:
    taken: list[int] = []
    in_threads(taken.extend, range(THREADS))
    child = multiprocessing.get_context("fork").Process(target=_sum_in_child)
    child.start()
    child.join(timeout=30)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0


def test_a_system_that_does_not_fork_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    taken: list[int] = []
    runpy.run_path(cpu_threads.__file__)["in_threads"](taken.extend, range(100))
    assert len(taken) == 100
