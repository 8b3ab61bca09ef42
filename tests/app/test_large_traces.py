"""Pages of a trace too large to resample on a page: estimates at once, and the whole when the job
has ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import evidence, sample
from app import summary_kinds as kinds
from app.commands.summarize import summarize
from app.jobs import beside
from app.jobs.job import Job, Place
from app.jobs.queue import all_jobs
from app.jobs.worker import Work
from app.studies import summary
from app.studies.estimates import COMING
from app.trace import open_trace
from app.views.load_balance.panels import every_domain_panel
from app.workspace import trace_file
from data.sidecar import sidecar_path
from tests.app.incomplete_traces import TWO, written
from tests.app.jobs import work
from tests.app.pages import page, texts, words
from tests.app.sparse_traces import counted
from tests.sidecars import info_of, write_unchecked

pytestmark = pytest.mark.slow

SHOWS = ("overview", "specialization", "load_balance", "export")
STILL = "Estimates. Intervals and tests are still being computed"


@pytest.fixture
def large(traces: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(summary, "LARGE", 0)
    path = traces / "large.duckdb"
    written([*TWO, *["long"] * 12])(path)
    return path


@pytest.fixture
def counts(traces: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Large, and no token is known."""
    monkeypatch.setattr(summary, "LARGE", 0)
    path = traces / "counts.duckdb"
    counted(path, top_k=2, domains=tuple(TWO))
    return path


@pytest.fixture
def started(large: Path) -> Iterator[list[Job]]:
    """Jobs of the trace that a test starts; ended and forgotten after it."""
    jobs: list[Job] = []
    yield jobs
    for job in jobs:
        all_jobs().cancel(job)
        all_jobs().forget(job.key)


def start(large: Path, jobs: list[Job], work: Work) -> Job:
    key = beside.summary_key(open_trace(trace_file(large)))
    place = Place("overview", {})
    jobs.append(all_jobs().start(key, "Intervals and tests", work, place=place, automatic=True))
    return jobs[-1]


@pytest.mark.parametrize("name", SHOWS)
def test_while_the_job_runs_a_page_has_estimates_and_says_what_is_coming(
    name: str, large: Path, started: list[Job]
) -> None:
    start(large, started, work.wait_politely)
    app = page(name)
    assert not app.exception
    assert STILL in texts(app)
    shown = words(app)
    assert "tested at once" not in shown
    assert "no expert is chosen at least" not in shown
    if name == "overview":
        assert "prefer one domain" in shown or "prefers a domain" in shown
    if name == "load_balance":
        assert "is the least even" in shown


def test_what_waits_for_the_job_cannot_be_downloaded(large: Path, started: list[Job]) -> None:
    start(large, started, work.wait_politely)
    app = page("export")
    buttons = {button.proto.id.rsplit("-", 1)[-1]: button for button in app.get("download_button")}
    assert buttons["csv_expert_domain_lift"].proto.disabled
    assert not buttons["csv_expert_choices"].proto.disabled


def test_where_nothing_computes_nothing_is_said_to_be_computed(
    large: Path, started: list[Job]
) -> None:
    assert start(large, started, work.fail).ended.wait(300)
    helps = [button.proto.help for button in page("export").get("download_button")]
    assert any(line.startswith("Not computed yet.") for line in helps)
    for said in (*helps, texts(page("specialization"))):
        assert "being computed" not in said


@pytest.mark.parametrize("name", SHOWS)
def test_when_the_job_has_ended_a_page_has_all_of_it(name: str, large: Path) -> None:
    before = words(page(name))
    summarize(large)
    app = page(name)
    assert not app.exception
    assert STILL not in texts(app)
    after = words(app)
    assert COMING not in after
    if name == "specialization":
        assert "the specialists reappear in other texts" in after
        assert "the specialists reappear in other texts" not in before
    if name == "load_balance":
        assert "tested at once" in after
        assert "tested at once" not in before


@pytest.mark.parametrize("name", SHOWS)
def test_a_page_shows_a_large_trace_of_counts_before_and_after_the_job(
    name: str, counts: Path
) -> None:
    query = {"domain": "math"} if name == "load_balance" else {}
    assert not page(name, **query).exception
    summarize(counts)
    assert not page(name, **query).exception


def test_estimates_of_counts_are_of_all_texts(counts: Path) -> None:
    trace = open_trace(trace_file(counts))
    size = ["n_documents", "n_groups"]
    assert sample.by_domain(trace)[size].to_numpy().tolist() == [[12, 12]] * 2
    assert "one domain: nothing to compare" not in set(evidence.lifts(trace).note)
    every_domain = every_domain_panel(trace, metric="load_imbalance").table
    assert every_domain[size].drop_duplicates().to_numpy().tolist() == [[12, 12]]


def test_a_job_that_failed_says_why_and_can_be_started_again(
    large: Path, started: list[Job]
) -> None:
    job = start(large, started, work.fail)
    assert job.ended.wait(300)
    app = page("specialization")
    assert "Estimates. Intervals and tests failed: the file has no column text" in texts(app)
    app.button(key="summary_again").click().run()
    assert all_jobs().get(job.key) is None
    assert not app.exception


def test_a_job_that_was_cancelled_says_so(large: Path, started: list[Job]) -> None:
    job = start(large, started, work.wait_politely)
    all_jobs().cancel(job)
    assert "Estimates. Intervals and tests were cancelled" in texts(page("load_balance"))


def test_tables_of_another_version_are_not_shown(large: Path, started: list[Job]) -> None:
    summarize(large)
    assert "tested at once" in words(page("load_balance"))
    rows = {"trace_id": info_of(large).trace_id, "version": 0}
    trace = open_trace(trace_file(large))
    frame = summary.stored(large, kinds.LOADS, trace.info)
    assert frame is not None
    write_unchecked(large, kinds.LOADS, frame, rows)
    start(large, started, work.wait_politely)
    app = page("load_balance")
    assert STILL in texts(app)
    assert "tested at once" not in words(app)


def test_a_damaged_table_is_named_and_estimates_are_shown(large: Path) -> None:
    summarize(large)
    sidecar_path(large, kinds.LIFTS).write_bytes(b"PAR1 cut")
    app = page("specialization")
    assert not app.exception
    assert "large.lifts.parquet is damaged" in texts(app)
    assert "the highest lift is that of expert" in texts(app)


def test_the_job_of_a_large_trace_starts_by_itself(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(beside, "summary", lambda trace: asked.append(trace.name))
    page("overview")
    monkeypatch.setattr(summary, "LARGE", 2**40)
    page("overview")
    assert asked == ["large"]
