"""The demo as it is shipped, and this machine's own in its place."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import pytest

from analysis import queries
from app import sidecars, summary_kinds, word_kinds
from app.commands.summarize import summarize
from app.studies import demo_recording
from app.studies.demo import demo_documents
from app.studies.demo_recording import FOLDER, compared, is_recording, lay_down, record, replace
from app.studies.reader import CHECKPOINT, HELDOUT, Tracer
from data.pieces import encoder
from data.recording import KEY
from data.sidecar import Sidecar, read_sidecar, sidecar_path
from data.store import open_trace
from data.tokenizer import load_tokenizer
from model.config_file import load_config
from model.fingerprint import model_sha256
from tests.sidecars import info_of

pytestmark = pytest.mark.slow

AGAIN = "make it again: python -m benchmarks.record_demo"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo of a first start."""
    path = tmp_path_factory.mktemp("first") / "demo.duckdb"
    assert lay_down(path, CHECKPOINT), f"it is of another model; {AGAIN}"
    return path


def test_the_shipped_recording_is_of_the_shipped_model_texts_and_tokenizer(shipped: Path) -> None:
    path = CHECKPOINT / "tokenizer.json"
    encode = encoder(load_tokenizer(path), path)
    length = load_config(CHECKPOINT).context_length
    model: Any = SimpleNamespace(context_length=length, encode=encode)
    documents = sorted(
        demo_documents(Tracer(CHECKPOINT, cast(Any, model)), HELDOUT), key=lambda one: one.doc_id
    )
    expected = [(one.doc_id, one.domain, one.group, one.text, one.origin) for one in documents]
    with open_trace(shipped) as con:
        stored = con.execute(
            'SELECT doc_id, domain, "group", text, origin FROM document ORDER BY doc_id'
        ).fetchall()
        tokens = con.execute(
            "SELECT list(token_id ORDER BY position) FROM token GROUP BY doc_id ORDER BY doc_id"
        ).fetchall()
    assert stored == expected, AGAIN
    encoded = encode([one.text for one in documents])
    assert [ids for (ids,) in tokens] == [ids[: length - 1] for ids, _ in encoded], AGAIN


SHIPPED = [kind for kind in sidecars.KINDS if kind not in word_kinds.BY_INDEX]  # for large traces


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.name)
def test_what_lies_beside_the_shipped_recording_is_of_this_version(
    kind: sidecars.Kind, shipped: Path
) -> None:
    found = read_sidecar(shipped, kind, of=info_of(shipped))
    assert isinstance(found, Sidecar), f"{found}; {AGAIN}"


def test_what_is_shipped_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000


def test_the_shipped_maps_are_finished(shipped: Path) -> None:
    for kind in sidecars.MAPS.values():
        found = read_sidecar(shipped, kind, of=info_of(shipped))
        assert isinstance(found, Sidecar)
        assert found.parameters["method"] == "umap"


@pytest.fixture(scope="module")
def recorded(tiny_trace: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of what the tiny model is said to have chosen, with results beside it."""
    root = tmp_path_factory.mktemp("release")
    path = root / "demo.duckdb"
    with duckdb.connect(str(shutil.copy(tiny_trace, path))) as con:
        con.execute("UPDATE trace SET model_sha256 = $1", [model_sha256(folder)])
    summarize(path)
    record(path, root / "recorded")
    return root / "recorded"


@pytest.fixture
def captured(tiny_trace: Path, tmp_path: Path) -> Path:
    """What this machine captures."""
    (tmp_path / "own").mkdir()
    return Path(shutil.copy(tiny_trace, tmp_path / "own" / "demo.duckdb"))


def refuse(trace: Path) -> None:
    raise AssertionError(f"{trace} needs nothing beside it")


def recapture(captured: Path, sql: str = "") -> None:
    with duckdb.connect(str(captured)) as con:
        con.execute(f"UPDATE trace SET trace_id = 'another'; {sql}")


def lifts(trace: Path) -> object:
    return read_sidecar(trace, summary_kinds.LIFTS, of=info_of(trace))


def test_the_recording_is_there_with_what_lies_beside_it(
    recorded: Path, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "traces" / "demo.duckdb"
    assert lay_down(path, folder, folder=recorded)
    assert is_recording(info_of(path))
    assert isinstance(lifts(path), Sidecar)
    left = {one.name for one in path.parent.iterdir()}
    assert left == {one.name.removesuffix(".zst") for one in recorded.iterdir()}


def test_the_recording_of_another_model_is_not_laid_down(recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces" / "demo.duckdb"
    assert not lay_down(path, CHECKPOINT, folder=recorded)
    assert list(path.parent.iterdir()) == []


def test_a_trace_and_a_file_of_somebody_else_are_left_alone(
    recorded: Path, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "traces" / "demo.duckdb"
    foreign = sidecar_path(path, summary_kinds.LIFTS)
    foreign.parent.mkdir()
    foreign.symlink_to(tmp_path / "elsewhere")
    assert lay_down(path, folder, folder=recorded)
    assert foreign.is_symlink()
    before = path.stat().st_mtime_ns
    assert lay_down(path, folder, folder=recorded)
    assert path.stat().st_mtime_ns == before


def test_the_same_choices_keep_what_lies_beside(
    recorded: Path, captured: Path, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "traces" / "demo.duckdb"
    lay_down(path, folder, folder=recorded)
    summarize(captured)  # of its own id, which it then loses
    recapture(captured)
    assert replace(path, captured, folder, complete=refuse)
    info = info_of(path)
    assert not is_recording(info)
    assert compared(info) == "Every choice as recorded for the release"
    assert isinstance(lifts(path), Sidecar)
    with open_trace(path) as con:
        assert not queries.weights_unknown(con)


def test_other_choices_get_an_id_of_their_own(
    recorded: Path, captured: Path, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "traces" / "demo.duckdb"
    lay_down(path, folder, folder=recorded)
    foreign = sidecar_path(path, summary_kinds.METRICS)
    foreign.unlink()
    foreign.symlink_to(recorded / "demo.duckdb.zst")
    recapture(
        captured,
        "UPDATE decision SET expert_ids = [1, 0], weights = [0.25, 0.75] "
        "WHERE doc_id = 0 AND position = 0",
    )
    assert replace(path, captured, folder, complete=summarize)
    assert info_of(path).trace_id == "another"
    assert compared(info_of(path)) == "2 of 16 decisions are not those recorded for the release"
    assert isinstance(lifts(path), Sidecar)  # those of its own: nothing that was shown is gone
    assert foreign.is_symlink()


def test_another_trace_that_came_meanwhile_stays(
    recorded: Path, captured: Path, folder: Path, tmp_path: Path, tiny_trace: Path
) -> None:
    path = tmp_path / "traces" / "demo.duckdb"
    lay_down(path, folder, folder=recorded)
    shutil.copy(tiny_trace, path)
    assert not replace(path, captured, folder, complete=refuse)
    assert path.read_bytes() == tiny_trace.read_bytes()


@pytest.mark.parametrize("told", [7, "x", {}, {"different": "<b>", "decisions": 3}, [1]])
def test_what_a_stranger_wrote_of_a_comparison_is_not_repeated(
    told: object, tiny_trace: Path
) -> None:
    info = info_of(tiny_trace)
    info.config[KEY] = told
    assert compared(info) == ""


def test_only_the_demo_is_recorded(tiny_trace: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny\.duckdb is not shipped"):
        record(tiny_trace, tmp_path / "recorded")
    assert demo_recording.FOLDER.is_dir()
