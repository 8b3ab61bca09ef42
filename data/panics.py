"""What the tokenizers package raises, in Rust: bare exceptions, and panics, which are no Exception
and print a trace of their own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_STDERR = RLock()  # one file descriptor for all threads


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever goes wrong in the block is a ValueError of one line."""
    try:
        with _silent():
            yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise ValueError(f"{what}: {' '.join(str(error)[:200].split())}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is printed to stderr, which Rust knows by its number alone."""
    with _STDERR:
        try:
            stderr = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(null)
