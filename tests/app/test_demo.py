"""The demo trace, made of the shipped model and texts, and every page that shows it."""

import shutil
from pathlib import Path

import pytest

from app.commands.demo import demo
from app.jobs import beside
from app.jobs.job import Job, Place
from app.studies.demo_recording import compared, lay_down, replace
from app.studies.reader import CHECKPOINT
from data.routing import DOMAINS
from data.store import open_trace
from tests.app.pages import PAGES, page, texts
from tests.sidecars import info_of

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(900)]  # minutes


@pytest.fixture(scope="module")
def demo_traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the demo trace, made of the shipped model and texts."""
    folder = tmp_path_factory.mktemp("demo")
    demo(out=folder / "demo.duckdb")
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_demo(
    name: str, traces: Path, demo_traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(CHECKPOINT))
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(demo_traces))
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_demo_as_recorded(
    name: str, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("1", "own", "Capturing", Place("overview"), print, tmp_path, automatic=True)
    monkeypatch.setattr(beside, "own_demo", lambda trace: job)
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(CHECKPOINT))
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)
    assert "still being computed" not in texts(app)


def test_a_machine_s_own_demo_takes_the_place_of_the_recording(
    demo_traces: Path, tmp_path: Path
) -> None:
    path = tmp_path / "demo.duckdb"
    assert lay_down(path, CHECKPOINT)
    own = Path(shutil.copy(demo_traces / "demo.duckdb", tmp_path / "own.duckdb"))
    assert replace(path, own, CHECKPOINT, complete=lambda trace: None)
    assert compared(info_of(path)).endswith("recorded for the release")


def test_every_domain_of_the_demo_has_enough_independent_texts(demo_traces: Path) -> None:
    with open_trace(demo_traces / "demo.duckdb") as con:
        effective = con.execute("""
            SELECT domain, sum(tokens) ** 2 / sum(tokens ** 2)
            FROM (
                SELECT domain, "group", count(*)::DOUBLE AS tokens
                FROM token JOIN document USING (doc_id) GROUP BY ALL
            )
            GROUP BY domain
        """).fetchall()
    assert {domain for domain, _ in effective} == set(DOMAINS)
    assert min(groups for _, groups in effective) >= 10


def test_the_demo_is_large_and_balanced(demo_traces: Path) -> None:
    with open_trace(demo_traces / "demo.duckdb") as con:
        tokens = dict(
            con.execute(
                "SELECT domain, count(*) FROM token JOIN document USING (doc_id) GROUP BY domain"
            ).fetchall()
        )
        dead = con.execute(
            "SELECT count(*) FROM expert ANTI JOIN document_load USING (layer_id, expert_id)"
        ).fetchone()
    assert set(tokens) == set(DOMAINS)
    assert sum(tokens.values()) >= 100_000
    assert max(tokens.values()) < 1.1 * min(tokens.values())
    assert dead == (0,)
