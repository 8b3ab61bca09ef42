"""Two prompts beside each other on the page Prompts."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.checkpoint import save_model
from model.transformer import Transformer
from tests.app.pages import page, run_button, run_to_its_end, texts
from tests.app.runs import area, ended, press, ran
from tests.models import small_config
from tests.tokenizers import cat_tokenizer


@pytest.mark.slow
def test_an_edited_text_runs_in_the_place_of_one_side(runnable: Path) -> None:
    app = ran("the cat sat")
    assert area(app, "Another text").value == "the cat sat"
    area(app, "Another text").set_value("the dog sat")
    app = ended(press(app, "Run beside"), "beside")
    assert not app.exception
    assert "the two runs choose different experts" in texts(app)
    first, second = app.session_state.run, app.session_state.beside
    assert area(app, "Second run").value == "the dog sat"
    area(app, "First run").set_value("the dog on the mat")
    app = ended(press(app, "Run again"), "run")
    assert not app.exception
    assert app.session_state.beside == second
    assert app.session_state.run != first
    assert area(app, "First run").value == "the dog on the mat"
    assert "the two runs choose different experts" in texts(app)
    area(app, "Second run").set_value(" ")
    app = press(app, "Run again", number=1)
    assert app.error[0].value == "This cannot be run:"
    assert "there is no text to run" in app.code[0].value
    again = page("prompts", run=app.session_state.run, beside=second)
    assert area(again, "Second run").value == "the dog sat"
    app = press(app, "Remove the second run")
    assert not app.exception
    assert "beside" not in app.query_params
    assert "the two runs choose different experts" not in texts(app)
    assert area(app, "Another text").value == "the dog on the mat"


@pytest.mark.slow
def test_a_run_that_was_cut_says_so_in_the_pair(runnable: Path) -> None:
    app = ran("the cat sat " * 100)
    area(app, "Another text").set_value("the dog")
    app = ended(press(app, "Run beside"), "beside")
    assert not app.exception
    assert [one.label for one in app.text_area] == ["Paste a text", "First run", "Second run"]
    assert len(app.warning) == 1
    assert app.warning[0].value.startswith("The text is longer than the model's context; ")
    assert "both have in the parts that are compared" in texts(app)


@pytest.mark.slow
def test_texts_without_a_common_token_are_shown(runnable: Path) -> None:
    app = ran("zz")
    area(app, "Another text").set_value("77")
    app = ended(press(app, "Run beside"), "beside")
    assert not app.exception
    assert "no token in common" in texts(app)
    assert 'class="rs-pair"' in texts(app)
    assert not app.get("plotly_chart")


@pytest.mark.slow
def test_both_runs_are_shown_when_one_of_them_is_new(runnable: Path) -> None:
    app = ran("the cat sat")
    app = ended(press(app, "Run beside"), "beside")
    beside = app.session_state.beside
    app.segmented_control(key="of_pair").set_value("the run beside it").run()
    assert not app.exception
    assert "the two runs" not in texts(app)
    app = ran("the dog sat", app)
    assert not app.exception
    assert "the two runs choose different experts" in texts(app)
    assert app.session_state.beside == beside
    assert area(app, "First run").value == "the dog sat"


@pytest.mark.slow
def test_one_text_through_models_of_different_layers_is_shown_and_not_compared(
    runnable: Path,
) -> None:
    larger = Transformer(replace(small_config(), vocab_size=300, context_length=64, num_layers=4))
    larger.initialize(seed=0)
    folder = runnable.parent / "models" / "larger"
    folder.mkdir(parents=True)
    save_model(larger, folder)
    cat_tokenizer().save(str(folder / "tokenizer.json"))
    app = ran("the cat sat")
    app.selectbox(key="model").set_value("models/larger").run()
    app = ended(press(app, "Run beside"), "beside")
    assert not app.exception
    assert not app.error
    assert "The first run has 2 MoE layers\\, the second 3\\:" in app.info[0].value
    assert "`routescope capture`" in app.info[0].value
    assert "Compare" in [one.proto.label for one in app.get("page_link")]
    assert "First run: 4 tokens." in texts(app)
    assert "Second run: 4 tokens." in texts(app)
    assert texts(app).count('class="rs-pair rs-alone"') == 2


@pytest.mark.slow
def test_a_continued_text_is_edited_without_its_continuation(runnable: Path) -> None:
    app = page("prompts")
    app.text_area(key="pasted").set_value("the cat sat")
    app.number_input(key="new_tokens").set_value(8)
    app = run_to_its_end(run_button(app).click().run())
    assert area(app, "Another text").value == "the cat sat"
    assert "continued by 8 tokens" in texts(app)
    app = ended(press(app, "Run beside"), "beside")
    assert "Both runs have the same tokens." in texts(app)  # of one seed


@pytest.mark.slow
def test_of_an_upload_one_text_is_chosen(runnable: Path) -> None:
    app = page("prompts")
    app.file_uploader(key="upload").set_value([("p.txt", b"the cat\nthe dog sat\n", "text/plain")])
    app = run_to_its_end(run_button(app).click().run())
    app.selectbox(key="run_text").set_value(1).run()
    assert area(app, "Another text").value == "the dog sat"
    app = ended(press(app, "Run beside"), "beside")
    assert not app.exception
    assert app.selectbox(key="run_text").value == 1
    assert "Both runs have the same tokens." in texts(app)
    app.selectbox(key="run_text").set_value(0).run()
    assert area(app, "First run").value == "the cat"
    assert "Both runs have the same tokens." not in texts(app)


def test_a_link_to_runs_that_are_gone(runnable: Path) -> None:
    app = page("prompts", run="a" * 32, beside="b" * 32)
    assert not app.exception
    assert "A run of this link is not there" in app.info[0].value
    assert not {"run", "beside"} & set(app.query_params)
