"""The page Prompts: a text that is run, its tokens, their experts."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import queries
from app.jobs.prompts import Upload, pasted
from app.views.load_balance import experts_per_token
from app.views.prompts import figures as tokens
from app.views.prompts import meanings, panels, token_strip
from app.views.prompts.meaning import NO_ENTRY
from app.views.prompts.run import title
from app.views.shared.theme import EMPTY, LIGHT
from data.routing import NO_EXPERT
from data.store import open_trace
from tests.app.markup import MARKUP
from tests.app.pages import page, run_button, run_to_its_end, texts
from tests.app.runs import ran


def test_the_token_heatmap_prints_the_strongest_expert_of_each_cell() -> None:
    first = pd.DataFrame(
        {
            "position": [0, 0, 1, 1],
            "layer_id": [0, 1, 0, 1],
            "expert_id": [5, 6, 7, 8],
            "weight": [0.1, 0.2, 0.3, 0.4],
            "dropped": [False, False, False, True],
        }
    )
    values, axis = tokens.by_weight(first, LIGHT)
    figure = tokens.token_heatmap(
        first, LIGHT, tokens=[MARKUP, "\n"], values=values, coloraxis=axis, marked=1
    )
    assert figure.data[0].text.tolist() == [[5, 7], [6, "(8)"]]  # the last one was dropped
    assert figure.data[0].z.tolist() == [[0.1, 0.3], [0.2, 0.4]]
    assert list(figure.layout.xaxis.ticktext) == ["&lt;b&gt;x&lt;/b&gt; …", "⏎"]
    assert "<a" not in figure.to_json()


def test_a_heatmap_says_where_nothing_is_known() -> None:
    first = pd.DataFrame({"position": [0, 1], "layer_id": [0, 0], "expert_id": [3, NO_EXPERT]})
    first = first.assign(weight=np.nan, dropped=False)
    values, axis = tokens.by_weight(first, LIGHT)
    figure = tokens.token_heatmap(
        first, LIGHT, tokens=["a", ""], values=values, coloraxis=axis, marked=0
    )
    assert not axis["showscale"]
    assert figure.data[0].text.tolist() == [[3, ""]]
    assert list(figure.layout.xaxis.ticktext) == ["a", EMPTY]
    hover = [text.split("<br>")[1] for text in figure.data[1].text]
    assert hover == ["layer 0: expert 3, weight unknown", "layer 0: no expert"]


def test_a_token_without_an_expert_in_a_layer_leaves_its_cell_empty() -> None:
    first = pd.DataFrame({"position": [0, 1], "layer_id": 0, "expert_id": [3, NO_EXPERT]})
    first = first.assign(weight=[0.5, 0.0], dropped=False)
    values, axis = tokens.by_weight(first, LIGHT)
    figure = tokens.token_heatmap(
        first, LIGHT, tokens=["a", "b"], values=values, coloraxis=axis, marked=0
    )
    assert figure.data[0].text.tolist() == [[3, ""]]
    assert np.isnan(figure.data[0].z).tolist() == [[False, True]]
    assert figure.data[1].text.tolist()[1].endswith("layer 0: no expert")


def test_special_tokens_and_tokens_without_experts_stand_in_the_strip(
    tiny_trace: Path,
) -> None:
    with open_trace(tiny_trace) as con:
        routing = queries.document_routing(con, 0)
    routing.loc[routing.position == 0, ["text", "special"]] = ["", "<s>"]
    routing.loc[(routing.position == 1) & (routing.layer_id == 0), "expert_id"] = NO_EXPERT
    assert panels.token_texts(routing) == ["<s>", " +", " 1"]
    assert panels.special_tokens(routing) == [True, False, False]
    here = panels.of_layer(routing, 0)
    assert here.expert_id.tolist() == [0, NO_EXPERT, 0]
    colours = meanings.by_expert(here, LIGHT, meanings.Layer(0, "layer 0", (4, 4), "t"))
    chips = token_strip.chips(here, colours)
    assert chips["tokens"] == ["<s>", " +", " 1"]
    assert chips["special"] == [True, False, False]
    assert chips["unseen"] == [False, False, False]
    assert chips["experts"] == ["0", "", "0"]
    assert chips["places"] == [0, NO_ENTRY, 0]
    note = panels.strip(routing, colours, layer_id=0).note
    assert "Outlined: a special token" in note
    assert EMPTY not in note
    k_TL = experts_per_token.of_text(routing)
    assert k_TL is not None
    assert k_TL.tolist() == [[2, 2], [0, 2], [2, 2]]


def test_a_path_has_a_bar_for_every_choice() -> None:
    routes = pd.DataFrame(
        {"layer_id": [0, 0], "rank": [0, 1], "expert_id": [3, 4], "weight": [0.6, 0.01]}
    )
    figure = tokens.token_path(routes, LIGHT, colors=["#111111", "#222222"])
    assert [trace.x[0] for trace in figure.data] == [0.6, 0.01]
    assert [trace.text[0] for trace in figure.data] == ["3", ""]  # too narrow for a number


def test_a_path_without_weights_has_bars_of_one_width() -> None:
    routes = pd.DataFrame({"layer_id": [0, 0], "rank": [0, 1], "expert_id": [3, 4]})
    routes["weight"] = np.nan
    figure = tokens.token_path(routes, LIGHT, colors=["#111111", "#222222"])
    assert [trace.x[0] for trace in figure.data] == [0.5, 0.5]
    assert all("weight unknown" in trace.hovertemplate for trace in figure.data)


def test_a_run_is_named_after_what_runs() -> None:
    assert title(Upload("long.txt", b"")) == "long.txt"
    assert title(pasted("the  cat\n\u202esat")) == "the cat sat"
    assert title(pasted("the cat sat on the mat and the dog lay")) == (
        "the cat sat on the mat and…"
    )
    assert title(pasted("x" * 99)) == f"{'x' * 30}…"


def full_disk(source: Path, target: Path) -> None:
    raise OSError(28, "No space left on device", target.name)


@pytest.mark.slow
def test_a_pasted_text_is_run_and_saved(runnable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = ran("the cat sat on the mat")
    assert not app.exception
    assert "In layer 0" in texts(app)
    app.text_input(key="trace_name").set_value("cats").run()
    app.button(key="save_trace").click().run()
    assert (runnable / "cats.duckdb").is_file()
    app.text_input(key="trace_name").set_value("dogs").run()
    monkeypatch.setattr(shutil, "copyfile", full_disk)
    app.button(key="save_trace").click().run()
    assert not app.exception
    assert app.error[0].value == "The trace was not saved."
    assert app.code[0].value.startswith("dogs.duckdb: No space left on device; free some space")
    assert sorted(file.name for file in runnable.iterdir()) == [
        "cats.duckdb",
        "prompt_runs",
        "tiny.duckdb",
    ]


@pytest.mark.slow
def test_uploaded_prompts_are_continued(runnable: Path) -> None:
    app = page("prompts")
    app.file_uploader(key="upload").set_value(
        [("../p.csv", b"text,domain\nthe cat,math\n", "text/csv")]
    )
    app.number_input(key="new_tokens").set_value(8)
    app = run_to_its_end(run_button(app).click().run())
    assert not app.exception
    assert "In layer 0" in texts(app)


def test_a_temperature_that_cannot_be_used_is_a_message(runnable: Path) -> None:
    app = page("prompts")
    app.number_input(key="new_tokens").set_value(8)
    next(each for each in app.number_input if each.label.startswith("Temperature")).set_value(1e-40)
    run_button(app).click().run()
    assert not app.exception
    assert app.error[0].value == "This cannot be run:"
    assert app.code[0].value == "temperature (1e-40) must be 0 or between 0.01 and 100"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"a,b\n1,2\n", "no column or field named text"),
        ("a.txt", b"\xff", "a.txt"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_message(
    name: str, content: bytes, words: str, runnable: Path
) -> None:
    app = page("prompts")
    app.file_uploader(key="upload").set_value([(name, content, "text/plain")])
    app = run_to_its_end(run_button(app).click().run())
    assert not app.exception
    assert app.error[0].value == "The text could not be run."
    assert words in app.code[0].value


@pytest.mark.slow
def test_a_token_of_a_longer_text_is_forgotten(runnable: Path) -> None:
    app = ran("the cat")
    app.number_input(key="run_token").set_value(1).run()
    app = ran("t", app)
    assert not app.exception
    assert app.number_input(key="run_token").value == 0


@pytest.mark.slow
@pytest.mark.parametrize("token", ["9999", "-1", "x"])
def test_a_link_to_a_token_that_is_not_there_is_ignored(
    token: str, traces: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts", token=token, text="77")
    assert not app.exception
    assert app.number_input(key="token").value == 0
