"""Whatever is sent comes back as it was."""

import os
import threading

import numpy as np
import pytest

from data.channel import Channel


@pytest.mark.parametrize(
    "arrays",
    [
        [],
        [np.empty((0, 3), np.float32)],
        [np.arange(3_000_000), np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2]],
        [np.empty(0), np.arange(2**18 + 1, dtype=np.uint8), np.ones(3), np.empty((2, 0))],
    ],
)
def test_a_message_comes_back(arrays: list[np.ndarray]) -> None:
    one, other = Channel.pair()
    thread = threading.Thread(target=one.send, args=(("some", arrays, None),))
    thread.start()
    name, received, nothing = other.receive()
    thread.join()
    assert (name, nothing) == ("some", None)
    for given, array in zip(arrays, received, strict=True):
        assert array.dtype == given.dtype
        np.testing.assert_array_equal(array, given)
    assert not other.waits()
    one.close()
    assert other.waits()
    with pytest.raises(EOFError):
        other.receive()
    other.close()


def test_what_comes_may_be_written_to_and_outlives_what_was_sent() -> None:
    one, other = Channel.pair()
    given = np.arange(1_000_000)
    one.send(given)
    given[:] = 0
    received = other.receive()
    one.close()
    other.close()
    received += 1
    np.testing.assert_array_equal(received, np.arange(1, 1_000_001))


def test_files_in_memory_are_closed() -> None:
    one, other = Channel.pair()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        one.send(np.zeros(1_000_000))
        other.receive()
    assert len(os.listdir("/proc/self/fd")) == before
    one.close()
    other.close()


def test_nobody_there_is_an_error() -> None:
    one, other = Channel.pair()
    other.close()
    with pytest.raises(BrokenPipeError):
        one.send("hello")
    one.close()
