"""Runs that are kept, on the pages Prompts and Compare."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import prompt_runs
from app.jobs.prompts import Upload, pasted
from app.model_folders import ModelFolder
from app.prompt_runs import TRACE
from app.studies.reader import Sampling
from app.views.prompts import given, my_runs, uploads
from app.views.prompts.form import Request
from app.views.prompts.run import INTERRUPTED
from data.prompts import Prompts
from tests.app.markup import MARKUP
from tests.app.pages import page, texts
from tests.app.runs import area, press, write_run


@pytest.fixture
def three(runnable: Path, tiny_trace: Path) -> list[str]:
    """Ids of three runs, the oldest first."""
    return [write_run(number, trace=tiny_trace).id for number in (1, 2, 3)]


def test_a_run_is_described_in_one_line(traces: Path) -> None:
    run = write_run(1)
    assert my_runs.described(run) == (
        "shipped · 1 text · 9 tokens · continued by up to 4 · stopped · 2026-01-01 00:00 UTC"
    )
    whole = replace(run, documents=2, sampling=None, stopped=False)
    assert my_runs.described(whole) == "shipped · 2 texts · 9 tokens · 2026-01-01 00:00 UTC"


def test_a_link_shows_a_run_that_no_job_of_this_server_made(three: list[str]) -> None:
    app = page("prompts", run=three[0])
    assert not app.exception
    assert "Read by the model shipped." in texts(app)
    assert "A row was skipped." in texts(app)
    assert "Stopped in text 1 of 2, as you asked" in texts(app)
    assert area(app, "Another text").value == "as <b>given</b>"
    assert "text 1</b> (shown)" in texts(app)
    assert app.button(key=f"open_{three[0]}").disabled
    assert "run" in app.query_params


def test_runs_are_opened_beside_each_other(three: list[str]) -> None:
    app = page("prompts")
    assert app.expander[-2].label == "My runs (3)"
    app.button(key=f"open_{three[2]}").click().run()
    app.button(key=f"beside_{three[1]}").click().run()
    assert not app.exception
    assert app.query_params["run"] == three[2]
    assert app.query_params["beside"] == three[1]
    assert "Both runs have the same tokens." in texts(app)
    app.button(key=f"open_{three[0]}").click().run()
    assert app.query_params["run"] == three[0]
    assert "beside" not in app.query_params


def test_a_run_is_renamed_kept_and_deleted(three: list[str], runnable: Path) -> None:
    first = three[0]
    app = page("prompts", run=first)
    app.text_input(key=f"title_{first}").set_value(MARKUP).run()
    app.button(key=f"rename_{first}").click().run()
    assert not app.exception
    assert f"<b>{MARKUP}" not in texts(app)
    assert "&lt;b&gt;" in texts(app)
    app.text_input(key=f"title_{first}").set_value(" ").run()
    app.button(key=f"rename_{first}").click().run()
    assert app.error[0].value == "The run was not renamed."
    assert "a title has 1 to 80 characters, this one 0" in app.code[0].value
    app.text_input(key=f"trace_name_{first}").set_value("cats").run()
    app.button(key=f"save_trace_{first}").click().run()
    assert (runnable / "cats.duckdb").is_file()
    app.button(key=f"delete_{first}").click().run()
    assert len(prompt_runs.listed()[0]) == 3  # it is asked first
    app.button(key=f"delete_sure_{first}").click().run()
    assert not app.exception
    assert "run" not in app.query_params
    assert not app.info
    assert [run.id for run in prompt_runs.listed()[0]] == [three[2], three[1]]
    assert (runnable / "cats.duckdb").is_file()


def test_all_are_forgotten_but_what_is_no_run(three: list[str], runnable: Path) -> None:
    mine = prompt_runs.folder() / "notes.txt"
    mine.write_text("mine")
    app = page("prompts", run=three[1], beside=three[2])
    assert "Not listed: &#x27;notes.txt&#x27; (not a run)" in texts(app)
    press(app, "Delete all 3 runs")
    assert not app.exception
    assert not {"run", "beside"} & set(app.query_params)
    assert list(prompt_runs.folder().iterdir()) == [mine]


def test_many_runs_are_listed_in_parts(runnable: Path) -> None:
    runs = [write_run(number) for number in range(my_runs.ROWS + 1)]
    app = page("prompts")
    shown = [one.key for one in app.button if str(one.key).startswith("open_")]
    assert shown == [f"open_{run.id}" for run in reversed(runs[1:])]


def test_a_damaged_run_is_one_sentence(three: list[str]) -> None:
    path = prompt_runs.folder() / three[0] / TRACE
    path.write_bytes(b"no trace")
    app = page("prompts", run=three[0])
    assert not app.exception
    assert app.error[0].value.startswith("This run cannot be shown.")
    path.unlink()
    app = page("prompts", run=three[0])
    assert not app.exception
    assert app.error[0].value == "A run of this link cannot be shown."
    assert app.code[0].value == "it has no run.duckdb; delete its folder"


def test_a_run_is_compared_with_the_trace(three: list[str]) -> None:
    link = {"trace": "tiny", "with": "my runs", "runs": three[1]}
    app = page("compare", **link)
    assert not app.exception
    assert app.multiselect(key="chosen_runs").value == [three[1]]
    assert "First: tiny. Second: run “text 2”." in texts(app)
    app.multiselect(key="chosen_runs").set_value([three[1], three[0]]).run()
    assert not app.exception
    assert app.query_params["runs"] == [three[1], three[0]]
    assert app.selectbox(key="other").options == ["run “text 2”", "run “text 1”"]


def test_a_run_that_is_not_there_cannot_be_compared(three: list[str]) -> None:
    app = page("compare", **{"with": "my runs", "runs": "../x"})
    assert not app.exception
    assert "The link asks for run ../x, which" in app.info[0].value.replace("\\", "")
    assert "Second: run “text 3”" in texts(app)


def test_runs_of_one_title_are_told_apart(three: list[str]) -> None:
    for run in prompt_runs.listed()[0]:
        prompt_runs.rename(run, "cats")
    app = page("compare", **{"with": "my runs"})
    assert app.multiselect(key="chosen_runs").options == ["“cats”", "“cats” (2)", "“cats” (3)"]


def test_a_title_that_is_too_long_is_cut(three: list[str]) -> None:
    app = page("prompts", run=three[0])
    app.text_input(key=f"title_{three[0]}").set_value("x" * 100).run()
    app.button(key=f"rename_{three[0]}").click().run()
    assert not app.error
    assert prompt_runs.listed()[0][-1].title == "x" * prompt_runs.TITLE_LENGTH


def begun(number: int, prompts: Prompts | Upload) -> str:
    """A run that its server did not survive."""
    sampling = Sampling(new_tokens=32, temperature=0.5, top_p=0.9, seed=7)
    request = Request(ModelFolder("shipped", Path()), prompts, sampling, chat=False)
    name = f"{number:032x}"
    prompt_runs.begin(prompt_runs.folder() / name, given.kept(request))
    return name


def test_the_text_of_a_run_that_ended_with_its_server_is_in_the_box(runnable: Path) -> None:
    name = begun(1, pasted("the cat\n\nthe dog"))
    app = page("prompts", run=name)
    assert not app.exception
    assert [info.value for info in app.info] == [INTERRUPTED]
    assert app.text_area(key="pasted").value == "the cat\n\nthe dog"
    assert app.number_input(key="new_tokens").value == 32
    assert app.number_input(key="seed").value == 7
    app = app.text_area(key="pasted").set_value("the cow").run()
    assert app.query_params["run"] == name
    assert app.text_area(key="pasted").value == "the cow"
    one = page("prompts", run=begun(2, pasted("a\n\nb", one=True)))
    assert one.toggle(key="one_text").value


def test_the_file_of_a_run_that_ended_with_its_server_is_there_again(runnable: Path) -> None:
    app = page("prompts", run=begun(1, Upload("p.txt", b"a\n\nb\n")))
    assert not app.exception
    assert app.session_state[uploads.FILE] == Upload("p.txt", b"a\n\nb\n")
    assert "2 texts in the file, separated by blank lines" in texts(app)
    assert "Blank lines, or lines of ---, separate texts." not in texts(app)
    (prompt_runs.folder() / f".{1:032x}.begun").write_text("{")
    damaged = page("prompts", run=f"{1:032x}")
    assert not damaged.exception
