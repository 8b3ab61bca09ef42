"""Pickles are read without being run."""

import pickle
from pathlib import Path

import pytest

from data.importers.reading.safe_pickle import PickleReader


def read(data: bytes) -> object:
    reader = PickleReader(
        data, "dump.pt", calls={}, names=frozenset(), persistent=lambda reference: reference
    )
    return reader.read()


class Writer:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "written")


@pytest.mark.parametrize("protocol", [2, 4])
def test_numbers_texts_and_containers_are_what_was_saved(protocol: int) -> None:
    value = {"ids": [0, 255, 256, 70_000, -1, 2**40], "f": 0.5, "none": None, 3: (True, "é", ())}
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_write_a_file_writes_none(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "target"
    payload = pickle.dumps(Writer(target), protocol)
    with pytest.raises(ValueError, match=r"^dump.pt holds code .*, which is not run"):
        read(payload)
    assert not target.exists()
    pickle.loads(payload)  # as a reader that runs it would
    assert target.read_text() == "written"


def test_a_name_of_code_is_shown_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"holds code \(os.sys\\x1btem\)") as refusal:
        read(b"cos\nsys\x1btem\n.")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"]", b"K", b"X\xff\xff\xff\xffab", b"e.", b"h\x07."]
)
def test_a_pickle_that_is_cut_off_is_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^dump.pt .*copy it again") as refusal:
        read(data)
    assert "\n" not in str(refusal.value)


def test_a_place_of_four_billion_takes_no_memory_for_those_before_it() -> None:
    assert read(b"K\x05r\xff\xff\xff\xff.") == 5


def test_lists_that_hold_each_other_a_billion_times_are_held_once() -> None:
    bomb: list[object] = []
    for _ in range(60):
        bomb = [bomb, bomb]
    value = read(pickle.dumps(bomb, 2))
    assert isinstance(value, list)
    assert value[0] is value[1]


def test_ten_thousand_nested_lists_are_read_without_recursion() -> None:
    assert isinstance(read(b"]" * 10_000 + b"a" * 9_999 + b"."), list)


def test_a_key_that_is_a_container_is_refused() -> None:
    with pytest.raises(ValueError, match="a key that is a tuple"):
        read(pickle.dumps({(1,): 1}, 2))
