"""Which trace the pages show."""

import shutil
from pathlib import Path

import duckdb
import pytest

from tests.app.pages import PAGES, page


@pytest.mark.slow
def test_the_sidebar_chooses_among_traces(traces: Path, tiny_trace: Path) -> None:
    for name in ("one", "two"):
        shutil.copy(tiny_trace, traces / f"{name}.duckdb")
    app = page("overview")
    app.selectbox(key="trace").set_value("one").run()
    assert not app.exception
    assert app.selectbox(key="trace").value == "one"


def test_a_broken_trace_is_an_error_and_not_a_traceback(traces: Path) -> None:
    (traces / "broken.duckdb").write_bytes(b"not a database")
    app = page("overview")
    assert not app.exception
    assert app.error[0].value.startswith("This trace cannot be shown")


def test_a_trace_of_the_link_that_is_not_here_is_named(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "one.duckdb")
    said = [info.value.replace("\\", "") for info in page("overview", trace="nope").info]
    assert "The link asks for trace nope, which is not here and is left out." in said
    assert "not here" not in str([info.value for info in page("overview", trace="one").info])


@pytest.mark.parametrize(
    "name", sorted(set(PAGES) - {"training", "comparison", "redundancy", "importing"})
)
def test_a_fatal_finding_stands_on_every_page_of_a_trace(
    traces: Path, writable: duckdb.DuckDBPyConnection, tmp_path: Path, name: str
) -> None:
    writable.execute(
        "INSERT INTO file.finding (kind, severity, occurrences, first_example, effect) "
        "VALUES ('non-finite', 'fatal', 1234, 'in MoE layer *3*', 'Mind it.')"
    )
    writable.execute(
        "INSERT INTO file.finding VALUES ('other', 'note', 1, 'here', 'Nothing.', 'tokens', '')"
    )
    writable.close()
    shutil.copy(tmp_path / "tiny.duckdb", traces / "tiny.duckdb")
    app = page(name)
    assert not app.exception
    stated = [error.value.replace("\\", "") for error in app.error]
    assert stated[:1] == ["Mind it. (1,234 tokens; first, in MoE layer *3*)"]
    assert "Nothing." not in str(stated)
