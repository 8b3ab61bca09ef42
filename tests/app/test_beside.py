"""What lies beside a trace, on every page that would show it: never another trace's, never a
traceback."""

import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from analysis.replication import COLUMNS
from app import sidecars, summary_kinds
from app.commands.cache import cache
from app.commands.index import index
from app.commands.information import information
from app.commands.project import project
from app.commands.summarize import summarize
from app.studies import ablation
from app.views.shared import demo
from app.workspace import trace_file
from data.sidecar import sidecar_path
from data.sidecar_kind import Kind
from tests.app.pages import page, texts
from tests.cause_rows import cause_rows
from tests.sidecars import info_of, write_earlier, write_unchecked
from tests.traces import write_tiny_trace

pytestmark = pytest.mark.slow

READ_BY = {  # who shows it
    "tokens": ("domain_clusters",),
    "prompts": ("domain_clusters",),
    "experts": ("domain_clusters",),
    "vocabulary": ("vocabulary", "export"),
    "information": ("vocabulary", "export"),
    "lifts": ("overview", "specialization", "export"),
    "domain_counts": ("overview", "specialization", "export"),
    "metrics": ("overview", "specialization", "load_balance", "export"),
    "loads": ("overview", "specialization", "load_balance", "export"),
    "sample": ("overview", "specialization", "export"),
    "units": ("overview", "specialization", "export"),
    "replication": ("overview", "specialization", "export"),
    "words": ("search",),
    "word_experts": ("search",),
    "cache": ("cache",),
    "cache_predictions": ("cache",),
    "causes": ("causes", "specialization", "export"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trace with all that may lie beside it."""
    path = tmp_path_factory.mktemp("made") / "tiny.duckdb"
    write_tiny_trace(path)
    project(path)
    information(path)
    summarize(path)
    cache(path)
    index(path)
    ablation.store(path, info_of(path), cause_rows(), {})
    return path


@pytest.fixture
def trace(made: Path, traces: Path) -> Path:
    for path in made.parent.iterdir():
        shutil.copy(path, traces)
    return traces / made.name


def test_all_kinds_are_read_by_a_page() -> None:
    assert set(READ_BY) == {kind.name for kind in sidecars.KINDS}


@pytest.mark.parametrize("kind", sidecars.KINDS, ids=lambda kind: kind.name)
def test_damage_is_one_sentence_with_the_right_command(trace: Path, kind: Kind) -> None:
    sidecar_path(trace, kind).write_bytes(b"PAR1 cut")
    line = f"{trace.stem}.{kind.name}.parquet is damaged and is not used"
    for name in READ_BY[kind.name]:
        app = page(name, points=kind.name)
        assert not app.exception
        assert texts(app).count(line) == 1
        assert f"`{kind.command} {trace}` makes it again." in texts(app)
    assert sidecar_path(trace, kind).read_bytes() == b"PAR1 cut"


def exported() -> set[str]:
    """The tables that page Export offers."""
    return {button.proto.label for button in page("export").get("download_button")}


def test_what_is_whole_is_shown(trace: Path) -> None:
    assert "in which the routing of 8 tokens differs: they are too few" in texts(
        page("domain_clusters")
    )
    assert "The specialist left out is confirmed" in texts(page("causes"))
    assert {"causes.csv", "information_beyond_token.csv"} <= exported()


def test_after_another_trace_has_taken_the_name_nothing_of_the_old_one_is_shown(
    trace: Path,
) -> None:
    with duckdb.connect(str(trace)) as con:
        con.execute("UPDATE trace SET trace_id = 'captured again'")
    clusters = page("domain_clusters")
    assert "A first look at 8 tokens" in texts(clusters)
    assert "depends on the subject" not in texts(page("vocabulary"))
    causes = page("causes")
    assert "confirmed" not in texts(causes)
    assert "tiny.causes.parquet belongs to another trace and is not used" in texts(causes)
    assert not {"causes.csv", "information_beyond_token.csv"} & exported()
    assert "not tested" not in texts(page("specialization"))


def test_causes_of_an_earlier_version_are_offered_to_be_measured_again(trace: Path) -> None:
    write_earlier(trace, sidecars.CAUSES, cause_rows(), model_sha256="ab12", format=2)
    app = page("causes")
    assert not app.exception
    assert "is of another version of RouteScope and is not used" in texts(app)
    assert "confirmed" not in texts(app)


def test_a_folder_or_a_link_is_left_alone(trace: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.parquet"
    sidecar_path(trace, sidecars.CAUSES).rename(elsewhere)
    sidecar_path(trace, sidecars.CAUSES).symlink_to(elsewhere)
    sidecar_path(trace, sidecars.TOKENS).unlink()
    sidecar_path(trace, sidecars.TOKENS).mkdir()
    assert "(it is a folder): move it away, and `routescope project" in texts(
        page("domain_clusters")
    )
    app = page("causes")
    assert "(it is a link): move it away, and `routescope ablate --trace" in texts(app)
    assert "confirmed" not in texts(app)


def test_the_right_id_with_wrong_contents_is_damage(trace: Path) -> None:
    signed = {"trace_id": info_of(trace).trace_id, "version": summary_kinds.REPLICATION.version}
    rows = pd.DataFrame({"check": ["split_half"]}).reindex(columns=list(COLUMNS))
    write_unchecked(trace, summary_kinds.REPLICATION, rows, signed)
    app = page("specialization")
    assert not app.exception
    assert "tiny.replication.parquet is damaged" in texts(app)


def test_with_the_demo_goes_what_lies_beside_it(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.st, "button", lambda *given, **settings: True)
    monkeypatch.setattr(demo.st, "rerun", lambda: None)
    trace.with_name("other.tokens.parquet").touch()
    demo.offer_again(trace_file(trace))
    assert [path.name for path in trace.parent.iterdir()] == ["other.tokens.parquet"]
