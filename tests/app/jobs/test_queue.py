"""Jobs in processes of their own: progress, cancel, memory, order, and the end of the server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from app import server_folder
from app.jobs import queue
from app.jobs.job import Job, Place
from app.jobs.queue import ENDED, Jobs
from app.jobs.worker import Work
from tests.app.jobs import work
from tests.app.jobs.work import wait_until, wait_until_gone

GIGABYTE = 2**30


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    (tmp_path / "jobs").mkdir()
    started = Jobs(tmp_path / "jobs", tmp_path, memory=2 * GIGABYTE)
    yield started
    started.stop()


def begin(jobs: Jobs, key: str, work: Work, *, automatic: bool = False) -> Job:
    return jobs.start(key, key.upper(), work, place=Place("prompts"), automatic=automatic)


def finished(job: Job) -> Job:
    """Wait for a job's end without sleeping."""
    assert job.ended.wait(300), job.state
    return job


def noted(job: Job) -> Job:
    """Wait until it runs and has said so."""
    wait_until(lambda: job.note != "")
    return job


def test_a_job_counts_and_returns_its_result(jobs: Jobs) -> None:
    job = finished(begin(jobs, "a", work.count))
    assert (job.state, job.result, job.fraction, job.unit) == ("done", "made", 0.75, "texts")
    assert job.result_of(str) == "made"
    assert job.result_of(int) is None
    assert jobs.get("a") is job


def test_a_job_of_which_there_is_enough_ends_with_what_it_has(jobs: Jobs) -> None:
    job = noted(begin(jobs, "a", work.wait_for_enough))
    assert job.live == ["a"]
    job.enough.set()
    assert (finished(job).state, job.result, job.live) == ("done", "what there was", None)
    again = noted(begin(jobs, "b", work.wait_for_enough))  # in the same process, which forgot it
    assert again.active
    jobs.cancel(again)
    assert again.state == "cancelled"


def test_a_failure_is_kept_for_the_page(jobs: Jobs) -> None:
    job = finished(begin(jobs, "a", work.fail))
    assert (job.state, job.error) == ("failed", "the file has no column text")


def test_jobs_of_the_trace_that_is_looked_at_are_next(jobs: Jobs) -> None:
    def of_trace(trace: str) -> Job:
        place = Place("overview", {"trace": trace})
        return jobs.start(trace, trace, work.count, place=place, automatic=True)

    first = noted(begin(jobs, "first", work.wait_politely, automatic=True))
    older, looked_at = of_trace("older"), of_trace("looked at")
    jobs.prefer("looked at")
    jobs.cancel(first)
    finished(looked_at)
    finished(older)
    assert looked_at.ended_at < older.ended_at


def test_cancel_stops_a_job_at_its_next_checkpoint(jobs: Jobs) -> None:
    job = noted(begin(jobs, "a", work.wait_politely))
    jobs.cancel(job)
    assert job.state == "cancelled"


def test_a_job_that_does_not_listen_is_killed_with_its_children(jobs: Jobs) -> None:
    job = noted(begin(jobs, "a", work.wait_deaf))
    jobs.cancel(job)
    assert job.state == "cancelled"
    wait_until_gone([*map(int, job.note.split())])


@pytest.mark.parametrize(
    "greedy", [work.fill_memory, work.fill_memory_of_torch, work.fill_shared_memory]
)
def test_a_job_that_wants_all_memory_fails_and_the_next_one_runs(jobs: Jobs, greedy: Work) -> None:
    job = finished(begin(jobs, "a", greedy))
    assert job.state == "failed"
    assert job.error == "it needed more than the 2.1 GB of memory that a job may take"
    assert finished(begin(jobs, "b", work.count)).state == "done"


def test_a_process_that_dies_is_a_failed_job(jobs: Jobs) -> None:
    job = finished(begin(jobs, "a", work.crash))
    assert job.state == "failed"
    assert job.error == "its process ended before the work was done (SIGSEGV)"
    assert finished(begin(jobs, "b", work.count)).state == "done"


def test_work_that_cannot_be_sent_to_a_process_is_a_failed_job(jobs: Jobs) -> None:
    job = finished(begin(jobs, "a", lambda progress: None))
    assert job.state == "failed"
    assert "lambda" in job.error


def test_one_process_does_one_job_after_another_until_one_breaks(jobs: Jobs) -> None:
    first = finished(begin(jobs, "a", work.process_id)).result
    finished(begin(jobs, "b", work.fail))  # what the user gave was refused
    jobs.cancel(noted(begin(jobs, "c", work.wait_politely)))
    assert finished(begin(jobs, "d", work.process_id)).result == first
    finished(begin(jobs, "e", work.break_down))
    assert finished(begin(jobs, "f", work.process_id)).result != first


def test_the_server_knows_what_a_process_keeps_until_it_is_gone(jobs: Jobs) -> None:
    first = finished(begin(jobs, "a", work.process_id)).result
    finished(begin(jobs, "b", partial(work.keep, name="one")))
    finished(begin(jobs, "c", partial(work.keep, name="two")))
    assert jobs.kept == {"one": "kept one", "two": "kept two"}
    finished(begin(jobs, "d", partial(work.give_up, name="one")))
    assert jobs.kept == {"two": "kept two"}
    assert finished(begin(jobs, "e", work.process_id)).result == first
    finished(begin(jobs, "f", partial(work.give_up, name="two")))
    assert jobs.kept == {}
    assert finished(begin(jobs, "g", work.process_id)).result != first  # its memory is free


def test_what_a_process_kept_goes_with_it(jobs: Jobs) -> None:
    process = finished(begin(jobs, "a", work.process_id)).result
    finished(begin(jobs, "b", partial(work.keep, name="one")))
    assert isinstance(process, int)
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: jobs.kept == {})
    assert finished(begin(jobs, "c", work.count)).state == "done"


def test_what_is_kept_on_purpose_ends_no_process(jobs: Jobs) -> None:
    first = finished(begin(jobs, "a", work.process_id)).result
    finished(begin(jobs, "b", partial(work.keep, name="large", size=5 * GIGABYTE // 4)))
    assert finished(begin(jobs, "c", work.process_id)).result == first
    assert jobs.kept == {"large": "kept large"}


def test_jobs_give_way_to_pages_and_to_what_was_asked_for(jobs: Jobs) -> None:
    own = finished(begin(jobs, "a", work.niceness)).result
    nicer = finished(begin(jobs, "b", work.niceness, automatic=True)).result
    assert [own, nicer] == [min(os.nice(0) + more, 19) for more in (5, 10)]


def test_one_job_runs_at_a_time_and_a_queued_one_is_cancelled_at_once(
    jobs: Jobs, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    first = noted(begin(jobs, "a", partial(work.wait_for, file=release)))
    second = begin(jobs, "b", work.count)
    third = begin(jobs, "c", work.count)
    assert [job.state for job in (first, second, third)] == ["running", "queued", "queued"]
    assert jobs.ahead_of(second) is jobs.ahead_of(third) is first
    jobs.cancel(second)
    assert second.state == "cancelled"
    release.touch()
    assert finished(first).state == finished(third).state == "done"


def test_what_nobody_asked_for_is_paused_while_a_users_job_runs(jobs: Jobs, tmp_path: Path) -> None:
    maps_may_end, run_may_end = tmp_path / "maps", tmp_path / "run"
    maps = noted(begin(jobs, "m", partial(work.wait_for, file=maps_may_end), automatic=True))
    later = begin(jobs, "l", work.count, automatic=True)
    maps_may_end.touch()
    run = noted(begin(jobs, "r", partial(work.wait_for, file=run_may_end)))
    assert (maps.state, later.state, run.state) in {
        ("paused", "queued", "running"),
        ("done", "queued", "running"),  # it was quicker than the pause
    }
    if maps.state == "paused":
        assert jobs.ahead_of(maps) is run
    run_may_end.touch()
    assert finished(run).state == finished(maps).state == finished(later).state == "done"


def test_what_is_cancelled_before_it_begins_takes_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(queue, "Process", lambda **given: started.append(given))
    jobs = Jobs(tmp_path, tmp_path, memory=GIGABYTE, settle=300)
    maps = begin(jobs, "maps", work.count, automatic=True)
    wait_until(lambda: maps.state == "running")
    jobs.cancel(maps)
    assert (finished(maps).state, started) == ("cancelled", [])
    jobs.stop()


def test_a_paused_job_can_be_cancelled(jobs: Jobs) -> None:
    maps = noted(begin(jobs, "m", work.wait_deaf, automatic=True))
    run = noted(begin(jobs, "r", work.wait_politely))
    assert maps.state == "paused"
    jobs.cancel(maps)
    assert finished(maps).state == "cancelled"
    assert run.state == "running"


def test_starting_a_running_job_again_returns_it(jobs: Jobs) -> None:
    first = begin(jobs, "a", work.wait_politely)
    assert begin(jobs, "a", work.count) is first


def test_jobs_of_one_title_are_told_apart(jobs: Jobs) -> None:
    started = [jobs.start(key, "Run", work.count, place=Place("prompts")) for key in "abc"]
    assert [job.title for job in started] == ["Run", "Run (2)", "Run (3)"]


def test_the_time_left_is_that_of_the_pace_until_now() -> None:
    job = Job("1", "a", "A", Place("prompts"), work.count, Path(), state="running")
    job.update({"done": 0, "total": 10})
    assert job.seconds_left is None
    job.update({"done": 9})
    began, first = job._since or (0.0, 0)
    job._since = began - 90, first
    assert job.seconds_left == pytest.approx(10, rel=0.01)  # 9 in 90 s


def test_only_what_is_done_keeps_its_files(jobs: Jobs) -> None:
    kept = finished(begin(jobs, "a", work.leave_a_file)).result_of(Path)
    assert kept is not None
    assert kept.read_text() == "kept"
    failed = finished(begin(jobs, "b", work.fail))
    assert not failed.folder.exists()


def test_old_jobs_are_forgotten_with_their_files(jobs: Jobs) -> None:
    first = finished(begin(jobs, "first", work.leave_a_file))
    for number in range(ENDED + 1):
        finished(begin(jobs, str(number), work.count))
    assert jobs.get("first") is None
    assert not first.folder.exists()
    assert len(jobs.all()) == ENDED + 1


def test_while_a_page_is_drawn_what_nobody_asked_for_stands_still(jobs: Jobs) -> None:
    maps = noted(begin(jobs, "maps", work.wait_deaf, automatic=True))
    process = psutil.Process(int(maps.note.split()[0]))
    jobs.draw_first(2)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
    assert maps.state == "running"
    wait_until(lambda: process.status() != psutil.STATUS_STOPPED)
    jobs.draw_first(300)
    jobs.cancel(maps)
    wait_until_gone([process.pid])


def test_the_end_of_the_server_ends_every_process_and_the_next_one_says_so(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, tmp_path, memory=GIGABYTE)
    maps = noted(begin(jobs, "maps", work.wait_deaf, automatic=True))
    run = noted(begin(jobs, "run", work.wait_deaf))
    jobs.stop()
    assert {maps.state, run.state} == {"cancelled"}
    wait_until_gone([*map(int, f"{maps.note} {run.note}".split())])
    again = Jobs(tmp_path, tmp_path, memory=GIGABYTE)
    assert again.ended_before == ["RUN"]  # the other starts by itself again
    again.dismiss()
    again.stop()
    assert server_folder.read_jobs(tmp_path)[1] == []


def test_a_killed_server_takes_its_processes_along_and_the_next_one_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    traces, other = tmp_path / "traces", tmp_path / "other"
    code = (
        f"import sys, pathlib; sys.path[:] = {sys.path!r}\n"
        f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"
        "from tests.app.jobs.work import serve_and_be_killed\n"
        f"serve_and_be_killed(pathlib.Path({str(traces)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        processes = [int(word) for word in server.stdout.readline().split()]
        assert len(processes) == 4
        assert server_folder.read_jobs(server_folder.claim(traces))[1] == []  # it is alive
        server.kill()
    wait_until_gone(processes)
    titles = ["Running your text", "Writing tables"]  # maps start by themselves
    assert server_folder.read_jobs(server_folder.claim(other))[1] == []
    assert server_folder.read_jobs(server_folder.claim(traces))[1] == titles
