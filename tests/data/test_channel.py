"""Whatever is sent comes back as it was."""

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


def test_nobody_there_is_an_error() -> None:
    one, other = Channel.pair()
    other.close()
    with pytest.raises(BrokenPipeError):
        one.send("hello")
    one.close()
