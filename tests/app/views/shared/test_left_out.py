"""What a link asks for and is not here is said in one note."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.views.shared.left_out import not_shown
from tests.app.pages import APP, CONTROLS, PAGES, page
from tests.placed import write_paired_trace

CHOICES = [kind for kind in CONTROLS if not kind.startswith("text")]  # others take any word
NONSENSE = "no such thing"


@pytest.fixture
def two(traces: Path) -> Path:
    for name in ("demo", "other"):
        write_paired_trace(traces / f"{name}.duckdb")
    return traces


def bound(app: AppTest) -> dict[str, str]:
    """What is in the address of controls that are, by name, as far as it is one word."""
    controls = [control for kind in CHOICES for control in app.get(kind)]
    return {
        control.proto.query_param_key: str(control.value)  # type: ignore[union-attr]
        for control in controls
        if control.proto.query_param_key
    }


def notes(app: AppTest) -> list[str]:
    said = [info.value.replace("\\", "") for info in app.info]
    return [line for line in said if line.startswith("The link asks for ")]


@pytest.mark.parametrize("name", PAGES)
def test_nonsense_for_any_control_is_named_once(name: str, two: Path) -> None:
    names = bound(page(name, trace="demo"))
    app = page(name, trace="demo", utm_source="a letter", **dict.fromkeys(names, NONSENSE))
    assert not app.exception
    said = notes(app)
    assert len(said) == bool(names)
    assert all(said[0].count(f"{of}={NONSENSE}") == 1 for of in names)
    assert "letter" not in str(said)
    assert set(names) & set(app.query_params) == set()
    assert notes(app.run()) == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_said_of_a_link_to_what_a_page_shows_anyway(name: str, two: Path) -> None:
    shown = bound(page(name, trace="demo"))
    shown = {of: value for of, value in shown.items() if value[0] not in "(["}
    assert notes(page(name, trace="demo", **shown)) == []


def test_what_is_beyond_the_last_is_named_and_the_last_is_shown(two: Path) -> None:
    app = page("placement", trace="demo", gpus="99999999", policy="greedy")
    assert app.number_input(key="gpus").value != 99999999
    assert "asks for gpus=99999999, which is not here" in notes(app)[0]


def test_all_that_is_left_out_stands_in_one_note(two: Path) -> None:
    app = page("specialization", trace="nope", layer="9", expert="x", order="speed", tour="9")
    assert notes(app) == [
        "The link asks for tour=9, trace nope, layer 9, expert x and order=speed, which are not "
        "here and are left out."
    ]
    assert not {"layer", "expert", "order", "tour"} & set(app.query_params)


def test_markup_in_a_link_is_shown_as_it_is(two: Path) -> None:
    app = page("specialization", trace="demo", order="![x](http://evil.test/a.png)")
    assert r"order\=\!\[x\]\(http" in app.info[0].value


def test_no_page_stops_before_it_has_said_so() -> None:
    files = (APP / "views").rglob("*.py")
    assert [path.name for path in files if "st.stop()" in path.read_text()] == ["left_out.py"]


def test_values_are_compared_as_an_address_writes_them() -> None:
    assert not_shown(["2"], 2) == []
    assert not_shown(["0.50", "9"], (0.5, 3.2)) == ["9"]
    assert not_shown(["TRUE"], shown=True) == []
    assert not_shown(["law", "art"], ["domain:law"]) == ["art"]
    assert not_shown(["x"], None) == ["x"]
