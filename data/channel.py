"""Messages between two processes of ours. Arrays go as they lie in memory: copying those of a
capture into a message would take longer than writing them.
"""

import pickle
import socket
from select import select
from typing import Any, Self

import numpy as np


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
        """OSError: the other end is gone."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        sizes = np.array([len(parts), *(part.nbytes for part in parts)], "<u8")
        for part in (sizes.data, *parts):
            self._end.sendall(part)

    def waits(self) -> bool:
        """Whether a message has come, or the other end is gone."""
        return bool(select([self._end], [], [], 0)[0])

    def receive(self) -> Any:
        """EOFError: the other end is closed."""
        [count] = self._array(1, "<u8")
        head, *buffers = [self._array(int(size), "u1") for size in self._array(int(count), "<u8")]
        return pickle.loads(head.data, buffers=buffers)

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
