"""Every figure of every page has its menu, and words for who cannot see it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.views.domain_clusters import point_map
from app.views.shared.layer_chooser import BARS
from app.views.shared.theme import LIGHT
from tests.app.pages import PAGES, page
from tests.placed import write_paired_trace

MENU, STRIP = "routescope_figure_menu", "routescope_token_strip"
LOOKS = ("loads", "preferences", "layers", "loss and gate", "tokens", "every figure")
OF_A_CONTROL = {BARS}  # the bars above the slider of layers, without axes


@pytest.fixture
def two(traces: Path) -> Path:
    for name in ("demo", "other"):
        write_paired_trace(traces / f"{name}.duckdb")
    return traces


def components(app: AppTest, name: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Key and data of each."""
    for element in app.get("bidi_component"):
        if element.proto.component_name == name:
            yield key_of(element.proto.id), json.loads(element.proto.json)


def key_of(widget: str) -> str:
    return widget.split("-", 2)[2]


def figures(app: AppTest) -> dict[str, str]:
    """What each is for who cannot see it, by key."""
    charts = {key_of(chart.proto.id): chart.proto.alt for chart in app.get("plotly_chart")}
    strips = {key: str(data["alt"]) for key, data in components(app, STRIP)}
    return {key: alt for key, alt in (charts | strips).items() if key not in OF_A_CONTROL}


def missing(app: AppTest) -> set[str]:
    """Figures without a menu or without words."""
    assert not app.exception
    menus = {data["chart"] for _, data in components(app, MENU)}
    return {key for key, alt in figures(app).items() if key not in menus or not alt.strip()}


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_has_a_menu_and_words(name: str, two: Path) -> None:
    assert missing(page(name, trace="demo")) == set()


@pytest.mark.parametrize("look", LOOKS)
def test_every_figure_of_a_comparison_has_them_too(look: str, two: Path) -> None:
    app = page("compare", trace="demo", traces="other", look=look)
    assert figures(app)
    assert missing(app) == set()


def test_the_card_of_an_expert_and_the_tokens_of_a_text_have_them(two: Path) -> None:
    assert "expert_lift" in figures(page("specialization", trace="demo"))
    assert "coloured by" in figures(page("prompts", trace="demo"))["strip"]


def test_the_map_has_words() -> None:
    assert re.search(r'<canvas [^>]*aria-label="\w', point_map._html())


def test_images_have_the_ground_of_the_page(two: Path) -> None:
    menus = [data for _, data in components(page("load_balance", trace="demo"), MENU)]
    assert {(data["ground"], data["note"]) for data in menus} == {(LIGHT.ground, "")}
