"""The demo trace: which texts it takes, and that it is whole or absent."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from app import workspace
from app.commands.demo import demo
from app.sidecars import CAUSES
from app.studies import demo as demo_study
from app.studies.demo import demo_documents, make_demo
from app.studies.reader import load_tracer
from app.studies.shipped_causes import ship
from app.trace import open_trace
from data.routing import DOMAINS, CancelledError
from data.sidecar import Sidecar, read_sidecar
from data.trace_paths import partial_path
from tests.cause_rows import cause_rows

CLI = typer.Typer()
CLI.command()(demo)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(CLI, [str(argument) for argument in arguments])


def test_help_has_an_example() -> None:
    assert "Example: routescope demo" in run("--help").output


@pytest.fixture
def heldout(tmp_path: Path) -> Path:
    """Four documents of ten bytes a domain."""
    rows = [(domain, f"{domain:.6} {i:03}") for domain in DOMAINS for i in range(4)]
    columns = {
        "doc_id": list(range(len(rows))),
        "domain": [domain for domain, _ in rows],
        "sublabel": ["easy"] * len(rows),
        "source": ["corpus"] * len(rows),
        "group": [f"corpus/{text[:6]}" for _, text in rows],
        "text": [text.ljust(10) for _, text in rows],
    }
    path = tmp_path / "heldout.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_the_demo_takes_equal_tokens_of_every_domain(
    folder: Path, heldout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_study, "DEMO_TOKENS", 15)
    chosen = list(demo_documents(load_tracer(folder), heldout))
    assert [document.doc_id for document in chosen] == [
        4 * g + i for g in range(6) for i in range(2)
    ]
    assert [document.domain for document in chosen[::2]] == list(DOMAINS)
    assert chosen[0].origin == "corpus/easy"
    assert len({document.group for document in chosen}) == 6


def drawn(groups: dict[str, int], *, tokens: int = 475) -> Counter[str]:
    """Documents by group of a draw from so many of each; a group's source comes before a stroke."""
    rows: list[demo_study.Row] = [
        {"source": group.split("/")[0], "group": group, "text": "x" * tokens}
        for group, documents in groups.items()
        for _ in range(documents)
    ]
    most = {"tokens": demo_study.DEMO_TOKENS, "group_tokens": demo_study.GROUP_TOKENS}
    return Counter(row["group"] for row in demo_study.draw(rows, len, **most))


def test_the_demo_has_every_group_in_equal_parts_where_it_can() -> None:
    assert drawn({f"source/{n}": 50 for n in range(20)}) == {f"source/{n}": 2 for n in range(20)}


def test_a_group_of_the_demo_stops_at_a_twelfth_of_its_domain() -> None:
    few = drawn({"large": 100, **{f"small/{n}": 5 for n in range(8)}})
    assert few == {"large": 4, **{f"small/{n}": 4 for n in range(8)}}  # 1,900 of 19,000 tokens


def test_a_source_of_many_groups_leaves_room_for_the_others() -> None:
    chosen = drawn({"manual": 50, **{f"laws/{n}": 9 for n in range(60)}})
    assert chosen["manual"] == 4
    assert sum(count == 1 for count in chosen.values()) == 36


def test_a_demo_of_too_few_texts_has_them_all() -> None:
    assert drawn({"one": 2, "two": 1}) == {"one": 2, "two": 1}


def test_demo_replaces_one_that_was_cut_short(
    tmp_path: Path, folder: Path, heldout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_study, "HELDOUT", heldout)
    out = tmp_path / "traces" / "demo.duckdb"
    out.parent.mkdir()
    partial_path(out).write_bytes(bytes(8) + b"DUCK, cut short")
    result = run("--out", out, "--model", folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["documents"] == 24
    assert [path.name for path in out.parent.iterdir()] == ["demo.duckdb"]


def test_a_demo_brings_the_causes_of_its_model(
    tmp_path: Path, folder: Path, heldout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_study, "HELDOUT", heldout)
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    for place in ("first", "second"):
        demo = tmp_path / place / "demo.duckdb"
        assert run("--out", demo, "--model", model).exit_code == 0
        info = open_trace(workspace.trace_file(demo)).info
        causes = read_sidecar(demo, CAUSES, of=info)
        assert isinstance(causes, Sidecar) == (place == "second")
        ship(model, demo, cause_rows(), {"model_sha256": info.model_sha256})


def test_a_cancelled_demo_leaves_nothing_and_says_how_many_texts_there_were(
    tmp_path: Path, folder: Path, heldout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_study, "HELDOUT", heldout)
    seen: list[tuple[int, int, int]] = []
    with pytest.raises(CancelledError):
        make_demo(
            load_tracer(folder),
            tmp_path / "traces" / "demo.duckdb",
            on_progress=lambda *counts: seen.append(counts),
            cancelled=lambda: True,
        )
    assert seen == [(0, 0, 24)]
    assert list((tmp_path / "traces").iterdir()) == []


def test_a_folder_with_the_name_of_an_unfinished_demo_is_named(
    tmp_path: Path, folder: Path, heldout: Path
) -> None:
    partial_path(tmp_path / "d.duckdb").mkdir()
    with pytest.raises(ValueError, match="is a folder, not an unfinished demo; move it away"):
        make_demo(load_tracer(folder), tmp_path / "d.duckdb")
