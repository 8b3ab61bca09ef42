"""Which trace the pages show."""

import shutil
from pathlib import Path

import pytest

from tests.app.pages import page


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
