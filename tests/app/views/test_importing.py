"""Page Import: files are dropped, checked, and saved as a trace."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.queue import all_jobs
from app.views.shared import integrity
from data.importers.checks.findings import finding
from data.store import open_trace
from tests.app.pages import page, texts, words
from tests.data.importers.engine_payloads import npy_bytes, routing


def imported(content: bytes, *, num_experts: int | None = 8) -> AppTest:
    """The page when the job has ended."""
    app = page("importing")
    app.file_uploader(key="dump").set_value([("one.npy", content, "application/octet-stream")])
    if num_experts:
        app.number_input(key="num_experts").set_value(num_experts)
    next(button for button in app.button if button.label == "Import").click()
    app = app.run()
    (job,) = [one for one in all_jobs().all() if one.key.startswith("import|")][-1:]
    assert job.ended.wait(120)
    return app.run()


@pytest.mark.slow
def test_a_dump_is_imported_and_saved_as_a_trace(traces: Path) -> None:
    ids_TLK = routing(30)
    ids_TLK[4, 1] = 3  # one expert twice
    app = imported(npy_bytes(ids_TLK))
    assert not app.exception
    shown = words(app)
    assert "Tokens 30" in shown
    assert "Choices 118" in shown  # 30 tokens, 2 layers, 2 chosen, but one decision
    assert "warning: Decisions that name one expert twice" in texts(app)
    app.text_input(key="import_name").set_value("mine")
    next(button for button in app.button if button.label == "Save as a trace").click()
    app = app.run()
    assert [success.value for success in app.success] == [
        "Saved. Choose it in the sidebar of any page."
    ]
    with open_trace(traces / "mine.duckdb") as trace:
        assert trace.execute("SELECT count(*) FROM routing").fetchall() == [(118,)]


@pytest.mark.slow
def test_what_is_missing_is_said_by_name(traces: Path) -> None:
    app = imported(npy_bytes(routing(30)), num_experts=None)
    assert [error.value for error in app.error] == ["The files could not be imported."]
    assert "one.npy does not say how many experts a layer has" in app.code[0].value


def test_a_report_names_the_gravest_first(traces: Path) -> None:
    found = [
        finding("without-token-ids", 1, "a.bin:1"),
        finding("unknown-experts", 2, "a.bin:1, token 4, layers.0: 9, 1"),
        finding("zero-rows", 1, "a.bin:2, token 0"),
    ]
    assert integrity.table(found).severity.tolist() == ["fatal", "warning", "note"]
    assert integrity.summary(found) == "fatal: 1, warnings: 1, notes: 1"
    assert integrity.summary([]) == "nothing noticed"
    assert np.isin(["effect", "done", "first_example"], integrity.table(found).columns).all()
