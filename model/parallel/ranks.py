"""The processes that torchrun started: one rank each of one model or one training."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from model.parallel.exchange import RankLostError, reaching

STOPS = (signal.SIGTERM, signal.SIGINT)
PATIENCE = timedelta(minutes=10)  # until a rank that neither answers nor ends counts as lost


class RefusedError(RuntimeError):
    """Another rank refuses to begin and says why."""


def process_rank() -> tuple[int, int]:
    """(rank, processes); starts the process group under torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not distributed.is_initialized():
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    return distributed.get_rank(), world


def all_ranks() -> DeviceMesh:
    """Of one dimension."""
    _, world = process_rank()
    return init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world,))


def add_up(values: Tensor) -> Tensor:
    """In place, over all ranks."""
    assert distributed.group.WORLD is not None
    with reaching(distributed.group.WORLD):
        distributed.all_reduce(values)
    return values


@dataclass(frozen=True, slots=True)
class Ranks:
    """This rank among the others."""

    mesh: DeviceMesh

    @property
    def rank(self) -> int:
        return self.mesh.get_local_rank()

    @property
    def size(self) -> int:
        return self.mesh.size()

    def totals(self, values: list[int]) -> list[int]:
        """Over all ranks; each waits for the others."""
        totals: list[int] = add_up(torch.tensor(values, device=self.mesh.device_type)).tolist()
        return totals

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """A ValueError in the block ends it on every rank; the first of those that have one keeps
        it, so that it is said once."""
        refusal: ValueError | None = None
        try:
            yield
        except ValueError as error:
            refusal = error
        refusing_R = [0] * self.size
        refusing_R[self.rank] = int(refusal is not None)
        refusing_R = self.totals(refusing_R)
        if refusal is not None and refusing_R.index(1) == self.rank:
            raise refusal
        if any(refusing_R):
            raise RefusedError


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Inside the block an interruption, and torchrun's request to stop when another rank has
    failed, is a RankLostError."""
    before = [signal.signal(number, stop) for number in STOPS]
    try:
        yield Ranks(all_ranks())
        distributed.destroy_process_group()  # without the others there is no orderly end
    except BaseException:
        ignore_stop()  # this rank ends as soon as it has said why
        raise
    for number, handler in zip(STOPS, before, strict=True):
        signal.signal(number, handler)


def stop(number: int, frame: FrameType | None) -> None:
    ignore_stop()
    why = "interrupted" if number == signal.SIGINT else "another rank has failed"
    raise RankLostError(
        f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} was stopped ({why}); restart "
        "all ranks"
    )


def ignore_stop() -> None:
    """What was begun is being cleared away: asking again helps nobody."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
