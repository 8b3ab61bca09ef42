"""The first start: the recorded demo is on show at once, and this machine's own takes its place."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.jobs import beside, demo, models
from app.jobs.job import Job, Place
from app.jobs.worker import Progress
from app.studies.demo_recording import is_recording
from app.studies.reader import CHECKPOINT
from tests.app.pages import PAGES, page, texts, words
from tests.sidecars import info_of

pytestmark = pytest.mark.slow

RECORDED = "The demo as recorded for the release, without mixing weights."
OWN = "This machine&#x27;s own capture"
BEING_MADE = f"{OWN}, which has them, is being made."


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """In place of the one that captures for minutes."""
    found = Job("1", "own", "Capturing", Place("overview"), print, tmp_path, automatic=True)
    monkeypatch.setattr(beside, "own_demo", lambda trace: found)
    return found


@pytest.fixture
def first_start(traces: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped model, and no trace yet."""
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(CHECKPOINT))
    return traces


def test_the_first_page_ever_shows_the_recorded_demo(first_start: Path) -> None:
    app = page("overview")
    assert not app.exception
    assert PAGES["overview"] in texts(app)
    assert f"{RECORDED} {BEING_MADE}" in texts(app)
    assert "114,965 tokens, 250 texts in 147 groups" in texts(app)
    assert "still being computed" not in texts(app)
    assert is_recording(info_of(first_start / "demo.duckdb"))


def test_the_map_is_finished_from_the_first_look(first_start: Path) -> None:
    app = page("domain_clusters")
    assert not app.exception
    assert "A first look" not in words(app)


def test_a_capture_that_was_cancelled_can_be_asked_for_again(first_start: Path, job: Job) -> None:
    job.state = "cancelled"
    app = page("overview")
    assert f"{RECORDED} {OWN} was cancelled." in texts(app)
    assert "Capture it here" in [button.label for button in app.button]


def test_with_another_model_nothing_is_captured_in_its_place(
    first_start: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page("overview")
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(model))
    app = page("overview")
    assert RECORDED in texts(app)
    assert BEING_MADE not in texts(app)


def test_a_capture_is_done_when_the_page_runs_again_with_the_machine_s_own(
    first_start: Path, job: Job, tiny_trace: Path
) -> None:
    app = page("overview")
    shutil.copy(tiny_trace, first_start / "demo.duckdb")
    app.run()
    assert not app.exception
    assert RECORDED not in texts(app)
    assert "8 tokens, 3 texts" in texts(app)


class Waiting:
    """A queue in which nothing begins."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def get(self, key: str) -> Job | None:
        return self.jobs.get(key)

    def start(self, key: str, title: str, work: Any, *, place: Place, automatic: bool) -> Job:
        self.jobs[key] = Job(key, key, title, place, work, Path(), automatic)
        return self.jobs[key]


def test_a_recording_is_replaced_once_by_a_job_that_gives_way_to_others(
    traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(CHECKPOINT))
    queue = Waiting()
    monkeypatch.setattr(beside, "all_jobs", lambda: queue)
    page("overview")
    page("export")
    [job] = queue.jobs.values()
    assert job.automatic
    assert job.work.func is demo.replace_recording  # type: ignore[attr-defined]
    assert job.work.keywords == {  # type: ignore[attr-defined]
        "model": CHECKPOINT,
        "path": traces / "demo.duckdb",
    }


def captures(trace: Path) -> Callable[..., None]:
    """What a model would write, that has it already."""

    def make_demo(tracer: object, path: Path, **options: Any) -> None:
        shutil.copy(trace, path)

    return make_demo


def test_the_job_puts_its_capture_in_place_and_keeps_no_second(
    first_start: Path, tiny_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page("overview")
    path = first_start / "demo.duckdb"
    monkeypatch.setattr(demo, "make_demo", captures(tiny_trace))
    monkeypatch.setattr(models, "tracer", lambda progress, folder: None)
    (tmp_path / "job").mkdir()
    demo.replace_recording(Progress(tmp_path / "job"), CHECKPOINT, path)
    assert not is_recording(info_of(path))
    assert info_of(path).num_tokens == 8
    assert list((tmp_path / "job").iterdir()) == []
