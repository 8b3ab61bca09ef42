"""The chooser of models on the page Prompts."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import hub
from app.jobs.job import Job
from app.jobs.looks import all_looks
from app.jobs.queue import all_jobs
from app.model_folders import ModelFolder
from app.studies.model_facts import Facts, Machine
from app.views.prompts import model_words
from app.views.prompts.model_words import Known
from tests.app.jobs.work import wait_until
from tests.app.markup import MARKUP
from tests.app.pages import page, run_button, run_to_its_end, texts

FACTS = Facts(
    family="Mixtral",
    parameters=46_700_000_000,
    layers=32,
    num_experts=8,
    top_k=2,
    num_shared_experts=0,
    scoring="softmax",
    context=32_768,
    machine=Machine(),
    transformers=True,
)
FOLDER = ModelFolder("models/mixtral", Path("/models/mixtral"))
GIGABYTE = 2**30


@pytest.fixture
def places(traces: Path, model: Path, tiny_trace: Path, tmp_path: Path) -> Path:
    """A trace, a default model, and a folder of models."""
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def looked_at(folder: Path) -> AppTest:
    """The page, once it knows what is in that folder."""
    page("prompts")
    wait_until(lambda: all_looks().at(folder) is not None, seconds=200)
    return page("prompts")


def load(app: AppTest, folder: Path) -> Job:
    """By the button; once it is in memory."""
    app.button(key="load_model").click().run()
    loading = all_jobs().get(f"load|{folder}")
    assert loading is not None
    assert loading.ended.wait(200)
    return loading


def choose(app: AppTest, name: str) -> AppTest:
    return app.selectbox(key="model").set_value(name).run()


def labels(app: AppTest) -> set[str]:
    return {each.label for each in [*app.button, *app.checkbox, *app.text_input, *app.number_input]}


def test_a_model_says_what_it_is_before_it_is_loaded(places: Path) -> None:
    app = page("prompts")
    assert not app.exception
    assert app.selectbox(key="model").options == ["model"]
    shown = texts(app)
    for words in ("DeepSeekMoE", "softmax", "64 tokens", "0.1 MB, "):
        assert words in shown
    assert not app.button(key="load_model").disabled


def test_a_model_that_does_not_fit_is_pale_and_has_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_words, "memory_there", lambda facts: 12 * GIGABYTE)
    monkeypatch.setattr(all_looks(), "at", lambda folder: FACTS)
    known = model_words.known(FOLDER)
    assert known.reason is not None  # so it is not among those to choose
    row = model_words.row(known)
    assert 'class="rs-out"' in row
    assert "too large: 186.8 GB" in row
    assert "Memory, of 12.9 GB" in model_words.table([known])
    assert model_words.known(FOLDER).facts == FACTS
    monkeypatch.setattr(all_looks(), "at", lambda folder: replace(FACTS, parameters=10**9))
    assert model_words.known(FOLDER).reason is None


def test_what_nobody_knows_yet_is_not_guessed() -> None:
    facts = replace(FACTS, scoring=None, num_experts=None, top_k=None)
    assert model_words.cells(Known(FOLDER, facts), facts)[2:5] == ["once loaded"] * 3
    assert "being looked at" in model_words.described(Known(FOLDER))


def test_names_and_reasons_are_shown_as_text() -> None:
    model = ModelFolder(MARKUP, Path("/x"))
    assert "<a" not in model_words.table([Known(model, reason=MARKUP), Known(model)])
    assert MARKUP not in model_words.described(Known(model, replace(FACTS, family=MARKUP)))


def test_a_folder_that_is_no_model_is_listed_with_its_reason(places: Path) -> None:
    (places / "empty").mkdir()
    (places / "link").symlink_to("/nowhere")
    (places / "broken").mkdir()
    (places / "broken" / "config.json").write_text("{")
    app = page("prompts")
    assert not app.exception
    assert app.selectbox(key="model").options == ["model"]
    shown = texts(app)
    assert "no model in models/empty: config.json is missing" in shown
    assert "a link to nothing" in shown
    assert "config.json is not JSON" in shown
    assert "All 4 models, 3 of them unusable here" in {each.label for each in app.expander}


def test_without_any_model_the_page_says_so(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts")
    assert not app.exception
    assert app.info[0].value.startswith("There is no model to run text through.")
    assert "Run" not in labels(app)


def test_a_link_to_a_model_that_is_not_there_shows_the_default(places: Path) -> None:
    app = page("prompts", model="models/../../etc")
    assert not app.exception
    assert app.selectbox(key="model").value == "model"


def test_without_the_option_there_is_no_field_for_the_hub(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(hub.ALLOWED, raising=False)
    app = page("prompts", model="hub/org/name")
    assert not app.exception
    assert "Model on the Hugging Face hub" not in labels(app)
    assert "Download" not in labels(app)
    assert [job for job in all_jobs().all() if job.key.startswith("hub|")] == []


def test_a_name_that_is_none_starts_no_download(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.ALLOWED, "1")
    app = page("prompts")
    field = next(each for each in app.text_input if "Hugging Face" in each.label)
    field.set_value("../etc/passwd").run()
    app.button(key="download").click().run()
    assert not app.exception
    assert "is no name on the hub" in app.error[0].value
    assert [job for job in all_jobs().all() if job.key.startswith("hub|")] == []


@pytest.mark.slow
def test_a_download_without_a_network_is_one_line(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.ALLOWED, "1")
    all_jobs().stop()  # the process of jobs has to know that it may
    all_jobs.clear()
    app = page("prompts")
    field = next(each for each in app.text_input if "Hugging Face" in each.label)
    field.set_value("org-that/is-not-there").run()
    app.button(key="download").click().run()
    job = all_jobs().get("hub|org-that/is-not-there")
    assert job is not None
    assert job.ended.wait(200)
    app.run()
    assert not app.exception
    assert app.error[0].value == "The model could not be downloaded."
    assert app.code[0].value.startswith("it cannot be had from the Hugging Face hub: ")
    assert "\n" not in app.code[0].value


@pytest.mark.slow
def test_a_text_meant_for_a_model_that_is_gone_goes_to_no_other(
    places: Path, folder_of: Callable[[str], Path]
) -> None:
    """And its memory is free again."""
    gone = Path(shutil.copytree(folder_of("mixtral"), places / "gone"))
    app = choose(looked_at(gone), "models/gone")
    load(app, gone)
    shutil.rmtree(gone)
    app = run_button(app).click().run()
    assert app.error[0].value.startswith("models\\/gone cannot be used any more.")
    wait_until(lambda: all_jobs().kept == {}, seconds=200)
    assert not any(job.key.startswith("prompts") for job in all_jobs().all())
    app = run_to_its_end(run_button(app).click().run())
    assert not app.error
    assert "Read by the model model." in texts(app)
    app.button(key="unload_model").click().run()
    wait_until(lambda: all_jobs().kept == {}, seconds=200)


@pytest.mark.slow
def test_a_model_of_transformers_is_loaded_run_and_unloaded(
    places: Path, folder_of: Callable[[str], Path]
) -> None:
    mixtral = Path(shutil.copytree(folder_of("mixtral"), places / "mixtral"))
    app = choose(looked_at(mixtral), "models/mixtral")
    assert "512 tokens" in texts(app)
    loading = load(app, mixtral)
    assert (loading.state, loading.title) == ("done", "Loading models/mixtral")
    other = choose(page("prompts"), "models/mixtral")  # another browser
    assert ", loaded" in texts(other)
    as_message = "As a message to the model, in its chat template"
    assert {"Temperature (at most 2)", as_message} <= labels(other)
    temperature = next(each for each in other.number_input if each.label.startswith("Temperature"))
    assert temperature.value is None  # the model's own
    other.text_area(key="pasted").set_value("the cat sat")
    other.checkbox(key="chat").check()
    other.number_input(key="new_tokens").set_value(2)
    other = run_to_its_end(run_button(other).click().run())
    assert not other.exception
    assert "Read by the model models/mixtral." in texts(other)
    other.button(key="unload_model").click().run()
    unloading = all_jobs().get(f"unload|{mixtral}")
    assert unloading is not None
    assert unloading.ended.wait(200)
    assert all_jobs().kept == {}
    app.run()
    assert " MB, " in texts(app)
    assert not app.button(key="load_model").disabled


@pytest.mark.slow
def test_an_encoder_with_a_decoder_continues_nothing(
    places: Path, folder_of: Callable[[str], Path]
) -> None:
    switch = Path(shutil.copytree(folder_of("switch_transformers"), places / "switch"))
    app = choose(looked_at(switch), "models/switch")
    assert not app.exception
    assert "it writes a text of its own instead of continuing one" in texts(app)
    assert "New tokens (at most 256)" not in labels(app)
