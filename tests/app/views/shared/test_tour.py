"""Five steps through the pages, which can be left and found again."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.views.shared.tour import STEPS
from tests.app.pages import PAGES, page
from tests.placed import write_paired_trace


@pytest.fixture
def demo(traces: Path) -> Path:
    write_paired_trace(traces / "demo.duckdb")
    return traces


def title(app: AppTest) -> list[str]:
    return [of.value.split("**")[1] for of in app.markdown if " of 5: " in of.value]


def test_the_tour_has_five_steps_on_five_pages() -> None:
    assert len(STEPS) == 5
    assert len({step.page for step in STEPS} & PAGES.keys()) == 5


def test_a_step_is_shown_by_its_link_and_left(demo: Path) -> None:
    app = page("specialization", trace="demo", tour="2")
    assert title(app) == [f"2 of 5: {STEPS[1].title}"]
    app.button(key="tour_leave").click().run()
    assert (title(app), app.exception) == ([], [])


def test_next_opens_the_page_of_the_next_step(demo: Path) -> None:
    app = page("overview", tour="1").button(key="tour_next").click().run()
    assert title(app) == [f"2 of 5: {STEPS[1].title}"]
    assert "Which experts prefer which domain?" in " ".join(of.proto.body for of in app.get("html"))


@pytest.mark.parametrize("step", ["0", "6", "x", "²", "11"])
def test_a_step_that_there_is_not_shows_none(step: str, demo: Path) -> None:
    app = page("overview", tour=step)
    assert (title(app), app.exception) == ([], [])
