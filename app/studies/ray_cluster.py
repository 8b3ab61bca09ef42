"""The Ray cluster that a capture runs on: that of RAY_ADDRESS, or one of this machine."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

INSTALL = "--ray needs Ray; install it with: pip install 'routescope[ray]'"
ANSWER = 5  # seconds
OBJECT_STORE = 256 << 20  # bytes, of a cluster of this machine: it passes texts alone
QUIET = {  # before Ray is imported; whoever sets them otherwise has a reason
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CPU, GPU = "CPU", "GPU"  # as Ray names what machines have


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How many workers, and what each takes of its machine."""

    workers: int
    cpus: int
    gpus: int = 0


def placement(
    machines: Sequence[Mapping[str, float]], *, workers: int | None, device: str | None
) -> Placement:
    """By default a worker a GPU; a machine, where there is none or `device` is cpu; a machine with
    GPUs, all of them, where it is auto. ValueError: there is no room for as many."""
    cpus = [int(machine.get(CPU, 0)) for machine in machines]
    gpus = [int(machine.get(GPU, 0)) for machine in machines]
    if not any(cpus):
        raise ValueError(
            "no machine of the cluster offers a processor core; start Ray there with --num-cpus"
        )
    each = 0
    if device != "cpu" and any(gpus):
        each = min(filter(None, gpus)) if device == "auto" else 1
    if each:
        room = sum(has // each for has in gpus)
        if workers and workers > room:
            raise ValueError(no_room(workers, room, "a GPU" if each == 1 else f"{each} GPUs"))
        return Placement(workers=workers or room, cpus=1, gpus=each)
    wanted = workers or sum(has > 0 for has in cpus)
    shares = range(max(cpus), 0, -1)
    share = next((one for one in shares if sum(has // one for has in cpus) >= wanted), 0)
    if not share:
        raise ValueError(no_room(wanted, sum(cpus), "a processor core"))
    return Placement(workers=wanted, cpus=share)


def no_room(wanted: int, room: int, each: str) -> str:
    return f"--workers is {wanted:,}, and the cluster has room for {room:,} with {each} each"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """What is not written by Python goes nowhere: Ray's own lines would flood a terminal."""
    sys.stderr.flush()
    ours = os.fdopen(os.dup(2), "w", buffering=1)
    shown = ours if sys.stderr is sys.__stderr__ else sys.stderr
    with ours, open(os.devnull, "w") as nowhere, redirect_stderr(shown):
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(ours.fileno(), 2)


@contextmanager
def cluster() -> Iterator[Any]:
    """Ray, connected; it is left as it was found. What it prints goes nowhere: what matters comes
    back from the workers."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError(INSTALL) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    heeded = {number: signal.getsignal(number) for number in SIGNALS}
    ours = not ray.is_initialized()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        if ours:
            connect(ray)
        for number, handler in heeded.items():  # Ray puts its own in their place
            signal.signal(number, handler)
        try:
            yield ray
        finally:
            if ours:
                ray.shutdown()


def require_answer(address: str) -> None:
    """ValueError: there is nobody at HOST:PORT, for whom Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"no Ray cluster can be used: nothing answers at {address:.100} of RAY_ADDRESS "
                f"({error})"
            ) from error


def connect(ray: Any) -> None:
    options: dict[str, Any] = {
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.CRITICAL,
    }
    require_answer(os.environ.get("RAY_ADDRESS", ""))
    if not os.environ.get("RAY_ADDRESS"):
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        options |= {"address": "local"}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "InvalidAuthToken" in f"{error}{error.__cause__}":
            reason += " without its token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        raise ValueError(f"no Ray cluster can be used: {reason[:300]}") from error
