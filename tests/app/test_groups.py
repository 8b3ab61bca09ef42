"""Groups of texts, from a prompt file to every page: odd ones are refused in words, none breaks."""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pytest
import typer
from typer.testing import CliRunner

from analysis.groups import NOT_ENOUGH
from app import sample, workspace
from app.commands import capture as command
from app.studies.summary import groups_said
from app.trace import Trace, open_trace
from app.views.export import tables
from app.views.overview import units
from data.groups import SOURCES
from data.merge import merge_traces
from data.report import csv_text
from tests.app.pages import page, words
from tests.data.stored import drop_format_5

pytestmark = pytest.mark.slow

CLI = typer.Typer()
CLI.command()(command.capture)
PAGES = (
    "overview",
    "specialization",
    "load_balance",
    "coactivation",
    "vocabulary",
    "domain_clusters",
    "prompts",
    "export",
)
TEXTS = ["the cat sat on mat", "x = y + 1; print", "two plus two is 4", "once upon a time"]
Row = tuple[str, str, str | None]  # text, domain, group


def rows(domain: str, groups: Iterable[str | None]) -> list[Row]:
    """Texts that are not alike."""
    return [
        (
            f"{number} {TEXTS[number % 4]}"[::-1]
            if number % 2
            else f"{TEXTS[number % 4]} {number}",
            domain,
            group,
        )
        for number, group in enumerate(groups)
    ]


def each(domain: str, number: int) -> list[Row]:
    return rows(domain, [f"{domain} {group}" for group in range(number)])


CASES: dict[str, tuple[list[Row], tuple[str, ...]]] = {
    "blanks": (
        [*rows("math", ["a", None, " ", "a"] * 6), *each("code", 12)],
        ("36 texts in 25 groups, as the prompt file groups them",),
    ),
    "one group": (
        rows("math", ["one"] * 24),
        ("24 texts in 1 group", "math has 1 independent text", NOT_ENOUGH),
    ),
    "one group a domain": (
        [*rows("math", ["one"] * 12), *rows("code", ["two"] * 12)],
        ("24 texts in 2 groups", "code has 1 independent text", NOT_ENOUGH),
    ),
    "as many groups as texts": (
        [*each("math", 12), *each("code", 12)],
        ("24 texts, each a group of its own, as the prompt file groups them",),
    ),
    "a domain with one text": (
        [*each("math", 12), *each("code", 1)],
        ("code has 1 independent text", NOT_ENOUGH),
    ),
    "identical texts": (
        [("all the same", "math", None)] * 40,
        ("40 texts in 1 group", "No groups were given", NOT_ENOUGH),
    ),
    "one domain": (each("math", 24), ("All texts belong to one domain",)),
    "a giant group": (
        [*each("math", 11), *rows("math", ["giant"] * 50), *each("code", 12)],
        ("math has 12 independent texts, as good as 1.5 of equal length", NOT_ENOUGH),
    ),
}


def captured(case: str, traces: Path, folder: Path) -> Path:
    """A trace of the rows of a case, made by the command."""
    prompts = traces.parent / "prompts.jsonl"
    names = ("text", "domain", "group")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in CASES[case][0]]
    prompts.write_text("\n".join(lines), encoding="utf-8")
    out = traces / "t.duckdb"
    result = CliRunner().invoke(CLI, [str(prompts), "--out", str(out), "--model", str(folder)])
    assert result.exit_code == 0, result.output
    return out


def without_groups(path: Path) -> None:
    """As RouteScope wrote traces in format 3."""
    with duckdb.connect(str(path)) as con:
        drop_format_5(con)
        con.execute('ALTER TABLE document DROP COLUMN "group"')
        config = json.loads(con.execute("SELECT config FROM trace").fetchall()[0][0])
        del config["capture"]["groups"]
        con.execute("UPDATE trace SET format_version = 3, config = $1", [json.dumps(config)])


def opened(path: Path) -> Trace:
    return open_trace(workspace.trace_file(path))


def shown_on_every_page() -> dict[str, str]:
    """The words of each page, none of which fails or shows a number that is none."""
    shown = {}
    for name in PAGES:
        app = page(name)
        assert not app.exception, name
        assert not app.error, name
        shown[name] = words(app)
        assert not re.search(r"\b(nan|NaN|inf|Infinity|<NA>|None)\b", shown[name]), name
    return shown


@pytest.mark.parametrize("case", CASES)
def test_odd_groups_are_shown_or_refused_in_words(case: str, traces: Path, folder: Path) -> None:
    path = captured(case, traces, folder)
    shown = shown_on_every_page()
    for text in CASES[case][1]:
        assert text in shown["overview"]
    for name, (_, table) in tables.tables(opened(path)).items():
        assert not re.search(r"(^|,)\"?-?(nan|inf|<NA>|None)\"?(,|$)", csv_text(table()), re.M), (
            name
        )


def test_a_group_that_spans_domains_is_refused_in_one_line(traces: Path, folder: Path) -> None:
    prompts = traces.parent / "prompts.csv"
    prompts.write_text("text,domain,group\none,math,a\ntwo,code,a\n", encoding="utf-8")
    result = CliRunner().invoke(
        CLI, [str(prompts), "--out", str(traces / "t.duckdb"), "--model", str(folder)]
    )
    assert isinstance(result.exception, ValueError)
    assert "a group lies within one domain: give them one domain" in str(result.exception)


def test_a_trace_of_format_3_says_that_groups_are_unknown(traces: Path, folder: Path) -> None:
    path = captured("as many groups as texts", traces, folder)
    without_groups(path)
    shown = shown_on_every_page()
    assert (
        "24 texts. Groups are unknown: this trace, of format 3, does not say" in shown["overview"]
    )
    assert "24 texts, groups unknown" in shown["overview"]
    for name in set(PAGES) - {"prompts", "domain_clusters"}:  # no intervals; no map yet
        assert "Groups are unknown" in shown[name], name
    table = sample.by_domain(opened(path))
    assert table.n_groups.tolist() == table.n_documents.tolist() == [12, 12]
    assert table.design_effect.isna().all()


def test_a_merged_trace_says_each_way_in_which_texts_came_by_their_groups(
    traces: Path, folder: Path
) -> None:
    first = captured("as many groups as texts", traces, folder)
    shutil.move(first, traces.parent / "first.duckdb")
    second = captured("identical texts", traces, folder)
    with duckdb.connect(str(second)) as con:
        for (table,) in con.execute(
            "SELECT DISTINCT table_name FROM duckdb_columns() WHERE column_name = 'doc_id' "
            "AND table_name NOT IN (SELECT view_name FROM duckdb_views())"
        ).fetchall():
            con.execute(f"UPDATE {table} SET doc_id = doc_id + 100")
    shutil.move(second, traces.parent / "second.duckdb")
    merge_traces(
        [traces.parent / "first.duckdb", traces.parent / "second.duckdb"], traces / "t.duckdb"
    )
    trace = opened(traces / "t.duckdb")
    said = groups_said(trace.info)
    assert said is not None
    assert said["from"] == "column and near-duplicates"
    line = sample.grouping_line(trace)
    assert line.startswith(
        "The sample is 64 texts in 25 groups, in part as the prompt file groups them and in part "
        "joined only where they are equal or nearly equal."
    )
    assert shown_on_every_page()


def test_counts_of_texts_never_leave_without_those_of_groups(traces: Path, folder: Path) -> None:
    trace = opened(captured("blanks", traces, folder))
    for name, (_, table) in tables.tables(trace).items():
        columns = set(table().columns)
        assert "n_groups" in columns or "n_documents" not in columns, name
    domains = tables.tables(trace)["domains"][1]()
    assert domains.n_documents.tolist() == [24, 12]
    assert domains.n_groups.tolist() == [13, 12]
    assert domains.design_effect.iloc[1] == pytest.approx(1)
    told = json.loads(json.dumps(tables.manifest(trace, raw=False)["statistics"]))
    assert [row["n_groups"] for row in told["sample_by_domain"]] == [13, 12]
    assert told["groups"]["from"] == "column"


def test_specialists_are_counted_by_unit_where_sources_are_known(
    traces: Path, folder: Path
) -> None:
    given = captured("as many groups as texts", traces, folder)
    path = traces / "corpus.duckdb"
    shutil.copy(given, path)
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE document SET origin = domain || doc_id % 4 || '/' || doc_id % 6")
        config = json.loads(con.execute("SELECT config FROM trace").fetchall()[0][0])
        config["capture"]["groups"]["from"] = "corpus"
        con.execute("UPDATE trace SET config = $1", [json.dumps(config)])
    table = units.by_unit(opened(path))
    assert table is not None
    assert table.unit.tolist() == ["text", "group", "sublabel", "source"]
    assert table.n_units.tolist() == [24, 24, 24, 8]
    assert table.too_few.tolist() == ["", "", "", "math, code"]
    assert table.specialists.iloc[3] == 0
    title = "Specialists by unit of evidence"
    assert title in words(page("overview", trace="corpus"))
    assert title not in words(page("overview", trace="t"))
    assert not units.known(opened(given))


def test_every_source_of_groups_has_its_words() -> None:
    assert tuple(sample.GIVEN) == SOURCES
