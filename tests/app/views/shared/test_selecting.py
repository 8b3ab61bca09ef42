"""The selection of a browser tab: in its link, in the controls of pages, and kept between them."""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.views.shared import chips as chips_drawn
from tests.app.pages import CONTROLS, PAGES, page
from tests.placed import write_paired_trace
from tests.traces import write_choices, write_tiny_trace

OF_A_LINK = ("trace", "layer", "expert", "domain", "group", "phase", "text", "token")
NOT_IN_A_LINK = {  # what is asked for once, by a button beside it
    "search_text",
    "experts",  # of Causes: which to leave out next
    "pasted",
    "new_tokens",
    "temperature_False",
    "top_p_False",
    "seed",
    "format",  # of a file that is imported
    "layers",
    "domain_from",
    "num_experts",
    "top_k",
}


@pytest.fixture
def two(traces: Path) -> Path:
    write_paired_trace(traces / "demo.duckdb")
    shutil.copy(traces / "demo.duckdb", traces / "same texts.duckdb")
    ids_TLK = np.random.default_rng(0).random((240, 1, 8)).argsort(-1)[..., :2]
    write_choices(traces / "other.duckdb", ids_TLK, np.repeat(np.arange(24), 10), num_experts=8)
    return traces


def turned(app: AppTest, name: str) -> AppTest:
    """To another page by the sidebar, whose links say nothing of the one that is left."""
    for parameter in [*app.query_params]:
        app.query_params[parameter] = []
    app._page_hash = calc_hash("" if name == "overview" else name)
    return app.run()


def chips(app: AppTest) -> list[str]:
    labels = {button.key: button.label for button in app.button if button.key}
    return [label.replace("\\", "") for key, label in labels.items() if key.startswith("chip_")]


def written(app: AppTest) -> dict[str, list[str]]:
    values = {name: app.query_params.get(name) for name in OF_A_LINK}
    return {name: list(np.atleast_1d(value)) for name, value in values.items() if value}


@pytest.mark.parametrize("name", PAGES)
def test_every_control_is_in_the_link(name: str, two: Path) -> None:
    app = page(name, trace="demo")
    assert not app.exception
    unbound = {
        str(control.key)
        for kind in CONTROLS
        for control in app.get(kind)
        if not control.proto.query_param_key
    }
    assert unbound - {*OF_A_LINK} <= NOT_IN_A_LINK


def test_a_link_restores_what_was_selected_and_leaves_out_what_is_not_there(two: Path) -> None:
    query = {"layer": "1", "expert": "1:3", "text": "2", "token": "2:1"}
    app = page("specialization", trace="demo", domain="nowhere", **query)
    assert app.selectbox(key="expert").value == 3
    assert chips(app) == ["Layer 1", "Expert 1:3", "Text 2", "Token 1 of text 2"]
    said = [info.value.replace("\\", "") for info in app.info]
    assert "The link asks for domain “nowhere”, which is not here and is left out." in said
    assert written(app) == {"trace": ["demo"]} | {name: [value] for name, value in query.items()}


def test_an_empty_part_of_a_link_asks_for_nothing(two: Path) -> None:
    app = page("specialization", trace="demo", layer="", expert="", domain="", text="", phase="")
    assert (chips(app), [info.value for info in app.info], app.exception) == ([], [], [])


def test_the_selection_is_kept_while_pages_change(two: Path) -> None:
    app = page("specialization", trace="demo", layer="1", expert="1:3")
    app = turned(app, "coactivation")
    assert app.get("button_group")[0].value == 1  # type: ignore[union-attr]
    app = turned(turned(app, "training"), "specialization")
    assert app.selectbox(key="expert").value == 3
    assert written(app) == {"trace": ["demo"], "layer": ["1"], "expert": ["1:3"]}


def test_a_chip_is_removed_by_a_click(two: Path) -> None:
    app = page("specialization", trace="demo", layer="1", domain="a")
    app.button(key="chip_0").click().run()
    assert (chips(app), written(app)) == (["a"], {"trace": ["demo"], "domain": ["a"]})
    app.button(key="chip_0").click().run()
    assert (chips(app), written(app)) == ([], {"trace": ["demo"]})


def test_a_chip_says_what_the_page_does_not_show(two: Path) -> None:
    app = page("load_balance", trace="demo", domain=["a", "b"], layer="0")
    helps = {button.label: button.help for button in app.button if "chip_" in str(button.key)}
    assert helps["a"] == "Remove"
    assert helps["b"] == chips_drawn.ONLY_FIRST
    assert helps["Layer 0"] == chips_drawn.UNUSED
    app = page("domain_clusters", trace="demo", domain=["a", "b"])
    assert {button.help for button in app.button if "chip_" in str(button.key)} == {"Remove"}


def test_a_token_of_a_text_that_was_recorded_from_later_on_is_there(traces: Path) -> None:
    write_tiny_trace(traces / "later.duckdb")
    with duckdb.connect(str(traces / "later.duckdb")) as con:
        for table in ("token", "decision"):
            con.execute(f"UPDATE {table} SET position = position + 240")
    app = page("prompts", trace="later", text="1", token="1:242")
    assert not app.exception
    assert not [info.value for info in app.info if "link" in info.value]
    assert app.number_input(key="token").value == 242
    said = page("prompts", trace="later", text="1", token="1:1").info[0].value
    assert "The link asks for token 1:1, which is not here" in said.replace("\\", "")


def test_numbers_of_texts_are_kept_for_a_trace_of_the_same_texts_only(two: Path) -> None:
    app = page("prompts", trace="demo", text="3", token="3:1")
    app.selectbox(key="trace").select("same texts").run()
    assert app.number_input(key="token").value == 1
    app.selectbox(key="trace").select("other").run()
    assert written(app) == {"trace": ["other"]}


def test_a_link_to_a_trace_that_is_gone_selects_no_text_of_another(two: Path) -> None:
    app = page("prompts", trace="gone", text="3", token="3:1", layer="0")
    said = [info.value.replace("\\", "") for info in app.info]
    assert said[0] == (
        "The link asks for trace gone, text 3 and token 3:1, which are not here and are left out."
    )
    assert "text" not in written(app)
    assert app.selectbox(key="text").value == 0


def test_back_to_a_page_with_nothing_in_its_address_selects_nothing(two: Path) -> None:
    app = page("specialization")
    app.query_params["layer"] = "1"
    app.run()
    assert chips(app) == ["Layer 1"]
    for parameter in [*app.query_params]:
        app.query_params[parameter] = []
    app.run()
    assert chips(app) == []
