"""The jobs in the sidebar, and a run that is found again by its link."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import queue
from app.jobs.job import Job, Place
from app.jobs.queue import Jobs, all_jobs
from app.jobs.worker import Work
from app.views.shared import jobs_panel
from tests.app.jobs import work
from tests.app.jobs.work import wait_until
from tests.app.markup import MARKUP
from tests.app.pages import page, texts

pytestmark = pytest.mark.slow

TITLE = "Running “a.txt”"


@pytest.fixture
def jobs(
    traces: Path, model: Path, tiny_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Jobs]:
    """Those of pages, with 2 GB for each, beside a trace and a model."""
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    monkeypatch.setattr(queue, "job_memory", lambda: 2 * 2**30)
    restart()
    all_jobs().dismiss()
    yield all_jobs()
    restart()
    all_jobs().dismiss()
    restart()


def restart() -> None:
    all_jobs().stop()
    all_jobs.clear()


def begin(jobs: Jobs, task: Work, *, run: str = "1", title: str = TITLE) -> Job:
    return jobs.start(f"run|{run}", title, task, place=Place("prompts", {"run": run}))


def noted(job: Job) -> Job:
    wait_until(lambda: job.note != "")
    return job


def answered(app: AppTest) -> str:
    assert not app.exception
    return texts(app)


def test_without_jobs_there_is_no_panel(jobs: Jobs) -> None:
    assert "Jobs" not in answered(page("comparison"))


def test_every_page_shows_what_runs_and_what_waits_for_it(jobs: Jobs) -> None:
    noted(begin(jobs, work.wait_politely))
    begin(jobs, work.count, run="2", title=f"Writing {MARKUP}")
    shown = answered(page("comparison"))
    assert f"<b>{TITLE}</b><br>Running" in shown
    assert "Waits, begins after running “a.txt”" in shown
    assert MARKUP not in shown


def test_any_page_cancels(jobs: Jobs) -> None:
    job = noted(begin(jobs, work.wait_politely))
    page("comparison").button(key=f"job_cancel_{job.id}").click().run()
    assert job.ended.wait(300)
    assert job.state == "cancelled"
    assert f"<b>{TITLE}</b><br>Cancelled" in answered(page("training"))


def test_what_ended_leads_to_its_result_until_it_is_cleared(jobs: Jobs) -> None:
    assert begin(jobs, work.count).ended.wait(300)
    app = page("comparison")
    assert f"<b>{TITLE}</b><br>Done" in answered(app)
    [link] = app.get("page_link")
    assert (link.proto.page, link.proto.query_string) == ("prompts", "run=1")
    assert "Jobs" not in answered(app.button(key="jobs_clear").click().run())


def test_a_job_that_wants_all_memory_fails_while_pages_answer(jobs: Jobs) -> None:
    job = begin(jobs, work.fill_memory)
    answered(page("comparison"))
    assert job.ended.wait(300)
    shown = answered(page("comparison"))
    assert "Failed: it needed more than the 2.1 GB of memory that a job may take" in shown


def test_a_restart_says_what_it_ended(jobs: Jobs) -> None:
    noted(begin(jobs, work.wait_politely))
    restart()
    app = page("comparison")
    assert f"The server was restarted, which ended</b><br>{TITLE}" in answered(app)
    assert "restarted" not in answered(app.button(key="jobs_clear").click().run())


def test_of_all_that_a_restart_ended_two_are_named(jobs: Jobs) -> None:
    jobs.ended_before = ["a run", "Maps", "Tables", "Words"]
    assert "A run; Maps and 2 more</p>" in answered(page("comparison"))


def test_a_link_finds_a_run_again_and_cancels_it(jobs: Jobs) -> None:
    job = noted(begin(jobs, work.wait_politely))
    app = page("prompts", run="1")
    assert f'<p class="rs-progress">{TITLE}: ' in answered(app)
    app.button(key="cancel_run").click().run()
    assert job.ended.wait(300)
    assert page("prompts", run="1").info[0].value == "Cancelled. Nothing was stored."


def test_a_link_to_a_run_of_an_earlier_server_is_one_sentence(jobs: Jobs) -> None:
    app = page("prompts", run="gone")
    answered(app)
    assert "A run of this link is not there" in app.info[0].value
    assert "run" not in app.query_params


def test_another_tab_shows_a_finished_run(jobs: Jobs) -> None:
    app = page("prompts")
    next(button for button in app.button if button.label == "Run").click().run()
    name = str(app.session_state.run)
    assert name in app.query_params["run"]
    job = jobs.get(f"run|{name}")
    assert job is not None
    assert job.ended.wait(300)
    assert job.state == "done", job.error
    other = page("prompts", run=name)
    answered(other)
    assert other.button(key="save_trace")


def job(name: str, state: str, *, ended_ago: float = 60.0, automatic: bool = False) -> Job:
    made = Job(name, name, name, Place("prompts"), work.fail, Path(name), automatic, state)
    made.ended_at = time.monotonic() - ended_ago
    return made


def listed(*jobs: Job) -> tuple[str, int]:
    shown, more = jobs_panel._shown(list(jobs))
    return " ".join(job.title for job in shown), more


def test_jobs_stand_in_the_order_in_which_they_were_started() -> None:
    assert listed(job("a", "done"), job("b", "running"), job("c", "queued")) == ("a b c", 0)


def test_of_those_that_wait_or_ended_the_panel_has_two_each() -> None:
    ended = [job(name, "done", ended_ago=100 - place) for place, name in enumerate("abc")]
    waiting = [job(name, "queued") for name in "efg"]
    assert listed(*ended, job("d", "running"), *waiting) == ("b c d e f", 1)


def test_what_a_user_waits_for_hides_last() -> None:
    by_themselves = [job(name, "paused", automatic=True) for name in "ab"]
    assert listed(*by_themselves, job("c", "running"), job("d", "queued")) == ("a c d", 1)


def test_a_job_that_has_just_ended_moves_no_other() -> None:
    before = [job("a", "done"), job("b", "done")]
    assert listed(*before, job("c", "cancelled", ended_ago=0.0)) == ("a b c", 0)
    assert listed(*before, job("c", "cancelled", ended_ago=30.0)) == ("b c", 0)


def test_a_cleared_job_is_gone() -> None:
    cleared = job("a", "failed")
    cleared.dismissed = True
    assert listed(cleared, job("b", "done")) == ("b", 0)
