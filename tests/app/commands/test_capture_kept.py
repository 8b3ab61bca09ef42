"""`--sample` and `--layers`: less is stored, and every page says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import queries
from app.studies.ablation import require_usable
from app.studies.exports import Settings, Subject, named
from app.trace import open_trace as opened
from app.views.export.manifest import manifest
from app.views.shared.layer_names import names_of
from app.workspace import trace_file
from data.merge import merge_traces
from data.store import open_trace
from tests.app.commands.captures import refused, run, write
from tests.app.pages import APP, PAGES, page, texts

TEXTS = "text,domain\n" + "".join(f"egg {n},{('a', 'b')[n % 2]}\n" for n in range(12))


OF_A_TRACE = [
    name for name in PAGES if "trace_page(" in (APP / "views" / name / "page.py").read_text()
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write(tmp_path / "p.csv", TEXTS)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with open_trace(path) as con:
        return con.execute(query).fetchall()


def test_what_is_kept_is_a_part_of_what_would_be_stored(
    tmp_path: Path, prompts: Path, folder: Path
) -> None:
    whole, part = tmp_path / "whole.duckdb", tmp_path / "part.duckdb"
    assert run(prompts, "--model", folder, "--out", whole).exit_code == 0
    options = ("--sample", "6", "--layers", "1", "--seed", "4", "--json")
    result = run(prompts, "--model", folder, "--out", part, *options)
    assert json.loads(result.stdout)["documents"] == 6
    doc_ids = [row[0] for row in rows(part, "SELECT doc_id FROM document")]
    assert rows(part, "SELECT domain, count(*) FROM document GROUP BY 1 ORDER BY 1") == [
        ("a", 3),
        ("b", 3),
    ]
    query = "SELECT doc_id, position, rank, expert_id FROM routing WHERE layer_id = {} ORDER BY ALL"
    expected = [row for row in rows(whole, query.format(1)) if row[0] in doc_ids]
    assert rows(part, query.format(0)) == expected
    assert rows(part, "SELECT name FROM layer") == rows(
        whole, "SELECT name FROM layer WHERE layer_id = 1"
    )
    assert rows(part, "SELECT count(*) FROM transition") == [(0,)]


def test_parts_of_a_sample_merge_to_the_sample(tmp_path: Path, prompts: Path, folder: Path) -> None:
    paths = [tmp_path / f"{place}.duckdb" for place in (0, 1, 2)]
    options = ("--model", folder, "--sample", "0.5", "--seed", 1)
    result = run(prompts, "--out", paths[0], *options)
    assert result.exit_code == 0
    assert "This trace holds a sample: 6 of 12 texts" in result.stdout
    for place in (1, 2):
        part = ("--out", paths[place], "--part", f"{place}/2")
        assert run(prompts, *part, *options).exit_code == 0
    merged = tmp_path / "merged.duckdb"
    merge_traces(paths[1:], merged)
    query = "SELECT doc_id, text FROM document"
    assert rows(merged, query) == rows(paths[0], query)


def test_another_sample_is_no_capture_to_resume(
    tmp_path: Path, prompts: Path, folder: Path
) -> None:
    out = tmp_path / "t.duckdb"
    assert run(prompts, "--model", folder, "--out", out, "--sample", "6").exit_code == 0
    out.rename(tmp_path / "t.duckdb.partial")
    line = refused(run(prompts, "--model", folder, "--out", out, "--sample", "5", "--resume"))
    assert "was begun with another config.capture.kept.texts.sample (6, now 5)" in line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--layers", "2"), "--layers names layer 2, and the model has 2 MoE layers: 0 to 1"),
        (("--sample", "13"), "--sample is 13, and there are 12 prompts"),
    ],
)
def test_what_is_not_there_cannot_be_kept(
    tmp_path: Path, prompts: Path, folder: Path, options: tuple[str, str], line: str
) -> None:
    out = tmp_path / "t.duckdb"
    assert line in refused(run(prompts, "--model", folder, "--out", out, *options))
    assert not list(tmp_path.glob("t.duckdb*"))


@pytest.fixture
def kept(traces: Path, tmp_path: Path, prompts: Path, folder: Path) -> Path:
    """A trace of layer 1 alone, of half of the texts."""
    out = traces / "kept.duckdb"
    options = ("--sample", "0.5", "--layers", "1")
    assert run(prompts, "--model", folder, "--out", out, *options).exit_code == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_A_TRACE)
def test_every_page_of_the_trace_says_what_was_not_kept(name: str, kept: Path) -> None:
    shown = page(name)
    assert not shown.exception
    said = texts(shown)
    assert "This trace holds a sample: 6 of 12 texts" in said
    assert "This trace holds layer 1 of the 2 MoE layers of the model." in said


def test_layers_are_called_by_their_numbers_in_the_model(kept: Path) -> None:
    names = names_of(opened(trace_file(kept)))
    assert (names[0], names.choice(0), names.labels(1)) == ("layer 1", "1", ["layer 1"])
    assert names.axis(1)["ticktext"] == ["1"]


def test_the_manifest_of_an_export_says_what_was_not_kept(kept: Path) -> None:
    said = manifest(opened(trace_file(kept)), raw=False)["statistics"]["limits"]
    assert "6 of 12 texts" in said[0]
    assert "layer 1 of the 2 MoE layers" in said[1]


def test_what_is_about_all_layers_is_refused(kept: Path, folder: Path, tmp_path: Path) -> None:
    with open_trace(kept) as con:
        info = queries.trace_info(con)
        with pytest.raises(ValueError, match="the trace holds some layers of the model alone"):
            require_usable(folder, info)
        for name in ("sglang", "sglang-counts", "eplb", "esft"):
            with pytest.raises(ValueError, match="holds layer 1 alone, and this export is of all"):
                named(name).write(Subject(con, Settings()), tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
