"""Runs on the page Prompts: begun there and seen when they have ended, or written by hand."""

import shutil
from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import TextArea

from app import prompt_runs
from app.jobs.queue import all_jobs
from app.prompt_runs import TRACE, Run
from app.studies.reader import Sampling
from tests.app.pages import page, run_button, run_to_its_end


def ran(text: str, app: AppTest | None = None) -> AppTest:
    """The page with that run, begun on a new page or on the one given."""
    app = app or page("prompts")
    app.text_area(key="pasted").set_value(text)
    return run_to_its_end(run_button(app).click().run())


def ended(app: AppTest, side: str) -> AppTest:
    """The page when the run of that side has ended."""
    job = all_jobs().get(f"run|{app.session_state[side]}")
    assert job is not None
    assert job.ended.wait(300)
    return app.run()


def area(app: AppTest, label: str) -> TextArea:
    return next(one for one in app.text_area if one.label.startswith(label))


def press(app: AppTest, label: str, *, number: int = 0) -> AppTest:
    return [one for one in app.button if one.label == label][number].click().run()


def write_run(number: int, *, trace: Path | None = None, size: int = 3) -> Run:
    """The run made in that second, stopped in the first of two texts; without a trace, of so many
    bytes that are none."""
    run = Run(
        folder=prompt_runs.folder() / f"{number:032x}",
        title=f"text {number}",
        created=f"2026-01-01T00:00:{number:02}+00:00",
        model="shipped",
        documents=1,
        asked=2,
        tokens=9,
        truncated_documents=0,
        truncated_tokens=0,
        notes=("a row was skipped",),
        sampling=Sampling(new_tokens=4, temperature=None, top_p=0.9, seed=7),
        chat=False,
        stopped=True,
    )
    run.folder.mkdir(parents=True)
    if trace is None:
        (run.folder / TRACE).write_bytes(bytes(size))
    else:
        shutil.copyfile(trace, run.folder / TRACE)
    prompt_runs.write(run, {0: "as <b>given</b>"})
    return run
