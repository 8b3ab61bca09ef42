"""How a command ends when it is asked to: Ctrl-C, SIGTERM and SIGHUP leave by the same way, so that
every block on it tidies up behind itself."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from types import FrameType

import typer

from data.connection import all_questions, interrupt

STOPS = (signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
TIDYING = 10.0  # seconds in which asking again changes nothing; then a library has lost the first
SOON = 0.1  # seconds in which Python ends what it does, unless it waits for a library


class StoppedError(SystemExit):
    """Asked to end by a signal; its code is 128 and the number of the signal."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block like Ctrl-C, but for the exit code: 143 and 129. A process
    that ignores one, as under nohup, still does."""
    asked: list[int] = []
    last = -TIDYING

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if monotonic() < last + TIDYING:  # it ends already: asking again would cut that short
            return
        last = monotonic()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)
        raise StoppedError(128 + number)

    every = (signal.SIGINT, *STOPS)
    heeded = [each for each in every if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, stop) for each in heeded}
    try:
        with heard_in_queries():
            yield
    except StoppedError:
        print(f"stopped by {signal.Signals(asked[0]).name}", file=sys.stderr)
        raise
    except BaseException as error:
        if asked:  # whatever a library made of it
            raise StoppedError(128 + asked[0]) from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def heard_in_queries() -> Iterator[None]:
    """A signal ends what was asked of a trace before it came; what tidies up may ask again."""
    hears, told = socket.socketpair()
    told.setblocking(False)
    over = Event()
    thread = Thread(target=_interrupt_what_waits, args=(hears, over), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        told.close()
        thread.join()
        hears.close()


def _interrupt_what_waits(hears: socket.socket, over: Event) -> None:
    if hears.recv(1):  # a signal has come
        asked = all_questions()
        while not over.wait(SOON):
            interrupt(asked)


@contextmanager
def leaving(what: Callable[[], str]) -> Iterator[None]:
    """Says in a line what a block that was asked to end has left behind."""
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as end:
        print(f"interrupted; {what()}", file=sys.stderr)
        code = end.code if isinstance(end, StoppedError) else INTERRUPTED
        raise typer.Exit(int(code or INTERRUPTED)) from None


def nothing() -> str:
    return "nothing was written"
