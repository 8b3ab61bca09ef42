import sys
import threading

import pytest

from app.jobs.queue import Job, Jobs, run_command
from data.routing import CancelledError


def finished(job: Job) -> Job:
    """Wait for a job's end without sleeping."""
    assert job.ended.wait(20), job.state
    return job


def test_a_job_counts_and_returns_its_result() -> None:
    def work(job: Job) -> str:
        job.advance(3, total=4, unit="texts")
        return "made"

    job = finished(Jobs().start("a", "A", work, lane="x"))
    assert (job.state, job.result, job.fraction) == ("done", "made", 0.75)


def test_a_failure_is_kept_for_the_page() -> None:
    def work(job: Job) -> None:
        raise ValueError("the file has no column text")

    job = finished(Jobs().start("a", "A", work, lane="x"))
    assert (job.state, job.error) == ("failed", "the file has no column text")


def test_cancel_stops_a_job_at_its_next_checkpoint() -> None:
    begun = threading.Event()

    def work(job: Job) -> None:
        begun.set()
        job.stop.wait(20)
        job.checkpoint()

    job = Jobs().start("a", "A", work, lane="x")
    assert begun.wait(20)
    job.stop.set()
    assert finished(job).state == "cancelled"


def test_the_end_of_the_server_stops_every_job() -> None:
    def work(job: Job) -> None:
        job.stop.wait(20)
        job.checkpoint()

    jobs = Jobs()
    started = [
        jobs.start(key, "A", work, lane=lane)
        for key, lane in (("a", "x"), ("b", "y"), ("waits", "x"))
    ]
    jobs.stop()
    assert [finished(job).state for job in started] == ["cancelled"] * 3


def test_a_lane_runs_one_job_at_a_time_and_a_queued_one_can_be_cancelled() -> None:
    jobs, release = Jobs(), threading.Event()
    first = jobs.start("a", "A", lambda job: release.wait(20), lane="x")
    second = jobs.start("b", "B", lambda job: "never", lane="x")
    assert second.state == "queued"
    second.stop.set()
    release.set()
    assert finished(first).state == "done"
    assert finished(second).state == "cancelled"


def test_starting_a_running_job_again_returns_it() -> None:
    jobs, release = Jobs(), threading.Event()
    first = jobs.start("a", "A", lambda job: release.wait(20), lane="x")
    assert jobs.start("a", "A", lambda job: None, lane="x") is first
    release.set()
    finished(first)


def test_a_command_reports_its_stages() -> None:
    job = Job("A")
    run_command(job, [sys.executable, "-c", "print('stage 2/4: map of 9 prompts')"])
    assert (job.done, job.total, job.note) == (1, 4, "stage 2/4: map of 9 prompts")


def test_a_failing_command_says_its_last_line() -> None:
    with pytest.raises(ValueError, match="no such trace"):
        run_command(Job("A"), [sys.executable, "-c", "import sys; sys.exit('no such trace')"])


def test_cancelling_ends_the_command() -> None:
    job = Job("A")
    job.stop.set()
    with pytest.raises(CancelledError):
        run_command(job, [sys.executable, "-c", "import threading; threading.Event().wait(60)"])
