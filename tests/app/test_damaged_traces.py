"""Traces that cannot be read, on pages: one sentence, whatever is wrong and whenever it is met."""

import shutil
from pathlib import Path

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from analysis import queries
from app.views.shared.trace_choice import UNREADABLE
from tests.app.pages import page, texts


def reason(app: AppTest) -> str:
    """What a page gives as the reason for showing nothing."""
    assert not app.exception
    assert [error.value for error in app.error] == [UNREADABLE]
    return str(app.code[0].value)


@pytest.mark.parametrize("name", ["overview", "export"])
def test_a_page_says_in_one_sentence_what_is_wrong_with_a_trace(
    name: str, traces: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "bad.duckdb")
    with duckdb.connect(str(traces / "bad.duckdb")) as con:
        con.execute("UPDATE decision SET expert_ids = [0, 40]")
    told = reason(page(name))
    assert told.endswith("names expert 40 of layer 0 at rank 1; copy it again or capture again")


def test_a_page_that_meets_a_damaged_part_later_says_so(
    traces: Path, tiny_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(con: duckdb.DuckDBPyConnection) -> object:
        return con.execute("SELECT error('Corrupt database file')").fetchall()

    shutil.copy(tiny_trace, traces / "bad.duckdb")
    monkeypatch.setattr(queries, "domain_tokens", damaged)
    assert "cannot be read: Invalid Input Error: Corrupt database file" in reason(page("overview"))


def test_a_link_to_nothing_and_a_folder_do_not_hide_the_traces(
    traces: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "good.duckdb")
    (traces / "gone.duckdb").symlink_to(traces / "nowhere")
    (traces / "folder.duckdb").mkdir()
    app = page("load_balance")
    assert not app.exception
    assert app.selectbox(key="trace").options == ["good"]
    assert "Not listed: folder.duckdb (not a file), gone.duckdb (No such file" in texts(app)
