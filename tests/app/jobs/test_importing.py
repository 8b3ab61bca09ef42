"""Files dropped on the page Import, as a job."""

from pathlib import Path

import pytest

from app.jobs import importing
from app.jobs.worker import Progress
from data.importers.source import Options
from data.routing import CancelledError
from data.store import open_trace
from tests.data.importers.engine_payloads import npy_bytes, routing

UPLOADS = [(f"folder/{number}.npy", npy_bytes(routing(20))) for number in range(2)]


def test_uploads_become_a_trace_and_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "import"
    importing.keep(folder, UPLOADS)
    result = importing.run(Progress(tmp_path), folder, Options(num_experts=8), None)
    assert (result.imported.tokens, result.imported.choices) == (40, 160)
    assert not folder.exists()
    with open_trace(result.path) as trace:
        origins = trace.execute("SELECT origin FROM document ORDER BY doc_id").fetchall()
    assert origins == [("folder/0.npy",), ("folder/1.npy",)]


def test_a_cancelled_import_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "import"
    importing.keep(folder, UPLOADS)
    progress = Progress(tmp_path)
    progress.stop.set()
    with pytest.raises(CancelledError):
        importing.run(progress, folder, Options(num_experts=8), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../a.npy", "/a.npy", "a\x00.npy", "..", "C:\\a.npy"])
def test_names_of_uploads_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "import"
    importing.keep(folder, [(name, b"x")])
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.is_relative_to(folder)


def test_too_much_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two files are named 'a'"):
        importing.keep(tmp_path, [("a", b"x"), ("a", b"y")])
    with pytest.raises(ValueError, match="1,001 files, at most 1,000"):
        importing.keep(tmp_path, [(str(number), b"") for number in range(1_001)])
    with pytest.raises(ValueError, match="257 MB, at most 256"):
        importing.keep(tmp_path, [("b", bytes(257 << 20))])


def test_what_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "import"
    importing.keep(folder, [("a.bin", b"nothing")])
    with pytest.raises(ValueError, match=r"a\.bin .* is of no format"):
        importing.run(Progress(tmp_path), folder, Options(), None)
    assert not folder.exists()
