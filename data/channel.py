"""Messages between two processes of ours. Large arrays go through memory that both see: a socket
takes them in some hundred pieces, before each of which a busy interpreter would be waited for.
"""

import mmap
import os
import pickle
import socket
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from select import select
from typing import Any, Self

import numpy as np

LARGE = 2**18  # bytes, from which a message goes through memory
ALIGNED = 64  # bytes: where a part of it begins


class Channel:
    """An end of a pair, for one thread that sends and one that receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        one, other = socket.socketpair()
        return cls(one), cls(other)

    @classmethod
    def of(cls, descriptor: int) -> Self:
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: object) -> None:
        """OSError: the other end is gone, or there is no memory for the message."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        sizes = np.array([part.nbytes for part in parts], "<u8")
        shared = _shared(parts) if sizes.sum() >= LARGE else None
        try:
            lead = np.array([len(parts), shared is not None], "<u8")
            socket.send_fds(self._end, [lead.data], [] if shared is None else [shared])
            for part in (sizes.data, *(parts if shared is None else ())):
                self._end.sendall(part)
        finally:
            if shared is not None:
                os.close(shared)

    def waits(self) -> bool:
        """Whether a message has come, or the other end is gone."""
        return bool(select([self._end], [], [], 0)[0])

    def receive(self) -> Any:
        """EOFError: the other end is closed."""
        (count, is_shared), files = self._lead()
        try:
            sizes = self._array(int(count), "<u8").tolist()
            if is_shared:
                head, *buffers = _mapped(files[0], sizes)
            else:
                head, *buffers = [self._array(size, "u1") for size in sizes]
        finally:
            for file in files:
                os.close(file)
        return pickle.loads(head.data, buffers=buffers)

    def _lead(self) -> tuple[np.ndarray, list[int]]:
        """How many parts come, whether through a file, and the file."""
        lead, files, _, _ = socket.recv_fds(self._end, 16, 1)
        if not lead:
            raise EOFError
        rest = self._array(16 - len(lead), "u1").tobytes()
        return np.frombuffer(lead + rest, "<u8"), files

    def _array(self, length: int, kind: str) -> np.ndarray:
        array = np.empty(length, kind)
        left = array.data.cast("B") if length else memoryview(b"")
        while left:
            got = self._end.recv_into(left)
            if not got:
                raise EOFError
            left = left[got:]
        return array

    def close(self) -> None:
        self._end.close()


def _shared(parts: Sequence[memoryview]) -> int:
    """The descriptor of a file in memory, where there are such, that holds them."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("message")
    else:
        with tempfile.TemporaryFile() as made:
            file = os.dup(made.fileno())
    try:
        for part in parts:
            left = part.cast("B") if part.nbytes else memoryview(b"")
            while left:
                left = left[os.write(file, left) :]
            os.lseek(file, -part.nbytes % ALIGNED, os.SEEK_CUR)
    except BaseException:
        os.close(file)
        raise
    return file


def _mapped(file: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """The parts where they lie, which stay while one of them is used."""
    memory = mmap.mmap(file, os.fstat(file).st_size)
    starts = accumulate((size + -size % ALIGNED for size in sizes), initial=0)
    return [
        np.frombuffer(memory, np.uint8, size, min(start, len(memory)))
        for size, start in zip(sizes, starts, strict=False)
    ]
