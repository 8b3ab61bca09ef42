"""Several requests at once, their answers in order."""

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

PATIENCE = 5.0  # seconds for a thread to notice that it is over


def in_order(
    asked: Iterable[Asked],
    ask: Callable[[Asked], Answered],
    *,
    at_once: int,
    hang_up: Callable[[], None],
) -> Generator[tuple[Asked, Answered], None, None]:
    """At most `at_once` are asked and not yet taken. The first error in order is raised. Ended
    early, it calls `hang_up`, which ends what is on its way."""
    waiting: queue.SimpleQueue[tuple[Asked, Future[Answered]] | None] = queue.SimpleQueue()
    threads = [
        Thread(target=_work, args=(waiting, ask), name="asks-server", daemon=True)
        for _ in range(at_once)
    ]
    for thread in threads:
        thread.start()
    begun: deque[tuple[Asked, Future[Answered]]] = deque()
    whole = False
    try:
        for one in asked:
            begun.append((one, Future()))
            waiting.put(begun[-1])
            if len(begun) == at_once:
                yield _taken(begun)
        while begun:
            yield _taken(begun)
        whole = True
    finally:
        if not whole:
            hang_up()
        for _, future in begun:
            future.cancel()
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join(PATIENCE)


def _taken(begun: "deque[tuple[Asked, Future[Answered]]]") -> tuple[Asked, Answered]:
    one, future = begun.popleft()
    return one, future.result()


def _work(
    waiting: "queue.SimpleQueue[tuple[Asked, Future[Answered]] | None]",
    ask: Callable[[Asked], Answered],
) -> None:
    while (work := waiting.get()) is not None:
        one, future = work
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(ask(one))
            except BaseException as error:  # raised where the answer is taken
                future.set_exception(error)
