"""What commands write: nothing is replaced, nothing half is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.outputs import new_folder, require_new_file, require_new_folder, write_atomically

FILLS_FOR_EVER = """
import sys, time
from pathlib import Path
from data.outputs import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


def filling(out: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that fills `out`, and the hidden folder that it fills."""
    process = subprocess.Popen(
        [sys.executable, "-c", FILLS_FOR_EVER, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_folder_appears_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with new_folder(out) as folder:
        (folder / "a").write_text("b")
        assert not out.exists()
    assert (out / "a").read_text() == "b"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path) -> None:
    process, left = filling(tmp_path / "out")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert (left / "half").exists()
    with new_folder(tmp_path / "a"):
        assert left.exists()  # another process may have made it just now
    os.utime(left, (0, 0))
    (tmp_path / ".out.mine").mkdir()
    with new_folder(tmp_path / "other"):
        assert not left.exists()  # whatever its name
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.mine", "a", "other"]


def test_what_a_living_process_fills_stays(tmp_path: Path) -> None:
    process, filled = filling(tmp_path / "out")
    os.utime(filled, (0, 0))
    try:
        for name in ("out", "other"):
            with new_folder(tmp_path / name):
                assert (filled / "half").exists()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("file", "exists; delete it or choose another name"),
        ("folder", "is a folder; name a file"),
        ("dangling", "exists"),
        ("file/new", "is not a folder, so"),
        ("file/several/new", "is not a folder, so"),
    ],
)
def test_only_a_new_file_is_written(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(ValueError, match=line):
        require_new_file(tmp_path / name)
    require_new_file(tmp_path / "new")
    require_new_file(tmp_path / "several" / "new")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("file", "is not an empty folder"),
        ("full", "is not an empty folder"),
        ("file/new", "is not a folder, so"),
    ],
)
def test_only_an_empty_or_new_folder_is_filled(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "something").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=line):
        require_new_folder(tmp_path / name)
    require_new_folder(tmp_path / "empty")
    require_new_folder(tmp_path / "several" / "new")


def test_a_place_where_nobody_can_write_is_refused() -> None:
    place = Path("/dev/fd")  # root may write in folders that are read-only
    line = r"nothing can be written in /dev/fd \(.*\); choose another folder"
    with pytest.raises(ValueError, match=line):
        require_new_file(place / "new")
    with pytest.raises(ValueError, match=line):
        require_new_folder(place / "a" / "b")


def make(path: Path, kind: str) -> None:
    if kind == "a folder":
        path.mkdir()
    elif kind == "a link":
        (path.parent / "precious").write_text("kept")
        path.symlink_to("precious")
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["a folder", "a link", "no plain file"])
def test_what_has_the_name_of_an_unfinished_file_is_refused_and_kept(
    kind: str, tmp_path: Path
) -> None:
    make(tmp_path / "k.csv.partial", kind)
    line = rf"k\.csv\.partial is {kind}, not an unfinished file; move it away"
    for begin in (require_new_file, lambda path: write_atomically(path, "x")):
        with pytest.raises(ValueError, match=line):
            begin(tmp_path / "k.csv")
    assert os.path.lexists(tmp_path / "k.csv.partial")
    if kind == "a link":
        assert (tmp_path / "precious").read_text() == "kept"


def test_text_is_written_whole_and_without_a_rest(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "a.csv", "x\r\ny\n")
    assert (tmp_path / "new" / "a.csv").read_bytes() == b"x\r\ny\n"
    assert len(list(tmp_path.iterdir())) == 1
