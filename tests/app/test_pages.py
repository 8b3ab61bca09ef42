"""Every page, run without a browser: without a trace, on tiny and on hostile ones, on the demo."""

import shutil
from pathlib import Path

import duckdb
import pytest

from tests.app.pages import PAGES, page, texts

OF_A_TRACE = [name for name in PAGES if name not in ("comparison", "importing")]
HOSTILE = '=HYPERLINK("http://evil.test") <img src=x onerror=alert(1)> ![a](http://evil.test/b.png)'


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_A_TRACE)
def test_a_page_of_an_empty_workspace_says_what_to_do(name: str, traces: Path) -> None:
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)
    assert any("routescope" in element.value for element in [*app.info, *app.code])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_a_tiny_trace(name: str, traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_A_TRACE)
def test_a_page_of_a_trace_without_tokens_says_so(
    name: str, traces: Path, empty_trace: Path
) -> None:
    shutil.copy(empty_trace, traces / "empty.duckdb")
    app = page(name)
    assert not app.exception
    assert app.info


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_a_trace_without_labels(name: str, traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "plain.duckdb")
    with duckdb.connect(str(traces / "plain.duckdb")) as con:
        con.execute("UPDATE document SET domain = NULL")
    assert not page(name).exception


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_text_and_domain_are_escaped(name: str, traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "hostile.duckdb")
    with duckdb.connect(str(traces / "hostile.duckdb")) as con:
        con.execute("UPDATE document SET text = $1, domain = $1 WHERE doc_id < 1", [HOSTILE])
        con.execute("UPDATE token SET text = $1 WHERE doc_id < 1", [HOSTILE])
    app = page(name)
    assert not app.exception
    assert "<img" not in texts(app)
    marked = [*app.markdown, *app.caption, *app.info, *app.warning, *app.header, *app.subheader]
    assert not [element for element in marked if "evil.test" in element.value]
    assert not [metric for metric in app.metric if "![a](" in f"{metric.value} {metric.delta}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"),
    {
        "load_balance": "| balancedness | loads (4, 0) and (6, 6) |",
        "coactivation": "| co-activation (OLMoE) | two tokens choose 0, 1, 2 and 0, 2, 1 by rank |",
        "vocabulary": "| vocabulary specialization (OLMoE) | id a",
    }.items(),
)
def test_the_method_shows_the_definitions_of_paper_and_released_code_beside_ours(
    name: str, told: str, traces: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    (table,) = [element.value for element in page(name).markdown if "side by side" in element.value]
    assert "| metric | case | paper | released code | RouteScope |" in table
    assert told in table
