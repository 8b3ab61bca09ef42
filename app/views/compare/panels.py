"""What differs between two traces, or two parts of one: second less first."""

from dataclasses import replace

import pandas as pd
import streamlit as st
from duckdb import DuckDBPyConnection

from analysis.differences.table_differences import table_difference
from analysis.significance import MAX_Q
from app.studies import compared
from app.studies.compared import Compared, Renaming
from app.studies.sides import Side
from app.trace import BY_IDENTITY, Trace
from app.views.compare import figures
from app.views.compare.words import minus, times
from app.views.shared.intervals import DASH, MEASURES
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from app.workspace import JOB_SECONDS
from data.labels import ALL, ALL_DOMAINS
from data.words import counted, decimals

METHOD = ("load_differences", "lift_differences", "figure_differences", "ratio_differences")
READING = "Bar: 95 % interval over groups of texts. "
SHOWN = 10  # rows of a table


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def difference(first: Trace, second: Trace, _renaming: Renaming | None, why: str) -> Compared:
    """Computed once; `why` tells what renames experts from what does not."""
    with first.cursor(seconds=JOB_SECONDS) as con, second.cursor(seconds=JOB_SECONDS) as other:
        return compared.compare(side_of(con, first), side_of(other, second), renaming=_renaming)


def side_of(con: DuckDBPyConnection, trace: Trace) -> Side:
    return Side(con, replace(trace.info, name=trace.name), trace.name, str(trace.path))


def headline(found: Compared) -> list[tuple[str, str, str]]:
    """What changed, in numbers."""
    numbers = []
    if found.loads is not None:
        sure, tested = int((found.loads.q < MAX_Q).sum()), int(found.loads.q.notna().sum())
        value, said = f"{sure:,}", f"of {tested:,}, q < {MAX_Q}"
        if not tested:
            value, said = DASH, "too few independent texts"
        numbers.append(("Loads that changed", value, said))
        known = found.loads.estimate.dropna().abs()
        if len(known) and tested:
            numbers.append(("Median change of a load", times(2 ** known.median()), "1× is none"))
    for row in whole(found).to_dict("records"):
        measure = figures.PER_TOKEN[row["figure"]]
        if row["figure"] != "experts per token" or row["estimate"]:
            ends = row["estimate"], row["low"], row["high"]
            form = f".{decimals(*ends, least=int(measure.form[1]))}f"
            change = f"{row['first']:{measure.form}} → {row['second']:{measure.form}}"
            said = f"{row['estimate']:+{form}}"
            if pd.notna(row["low"]):
                said += f" ({row['low']:+{form}} to {row['high']:+{form}})"
            numbers.append((measure.title.capitalize(), change, minus(said)))
    return numbers[:5]


def whole(found: Compared) -> pd.DataFrame:
    """The rows of per_token of all layers and texts."""
    if found.per_token.empty:
        return found.per_token
    rows = found.per_token
    return rows[rows.layer_id.isna() & (rows.domain == ALL)]


def by_layer(first: Trace, found: Compared, palette: Palette, *, metric: str) -> list[Panel]:
    if found.figures is None or metric not in set(found.figures.metric):
        return []
    rows = found.figures[found.figures.metric == metric]
    sure = rows[rows.q < MAX_Q]
    measure = MEASURES[metric]
    return [
        Panel(
            name="figure_differences",
            table=found.figures,
            answer=f"{measure.title[:1].upper()}{measure.title[1:]} changed in {len(sure)} of "
            f"{counted(len(rows), 'layer', 'layers')} (q < {MAX_Q})."
            if rows.q.notna().any()
            else "There are too few independent texts to say in which layers this changed.",
            figure=figures.layer_differences(rows, palette, metric=metric, names=names_of(first)),
            alt=f"Change of {measure.title} by layer, with intervals",
            note=f"{READING}Less what resampling itself adds to the difference.",
            preview=rows.drop(columns="metric"),
        )
    ]


def metrics_of(found: Compared) -> list[str]:
    return [] if found.figures is None else list(found.figures.metric.unique())


def per_token(found: Compared, palette: Palette, *, figure: str) -> list[Panel]:
    table = found.per_token
    if table.empty or figure not in set(table.figure):
        return []
    rows = table[(table.figure == figure) & table.layer_id.isna()].reset_index(drop=True)
    rows["domain"] = rows.domain.replace(ALL, ALL_DOMAINS)
    return [
        Panel(
            name="per_token_differences",
            table=table,
            figure=figures.domain_differences(rows, palette, figure=figure),
            alt=f"Change of {figure} by domain, with intervals",
            note=f"{READING}Every token counts alike. Filled: q < {MAX_Q} over all rows of the "
            "file, which has the layers too.",
            preview=rows.drop(columns=["figure", "layer_id"]),
        )
    ]


def figures_of(found: Compared) -> list[str]:
    return [] if found.per_token.empty else list(found.per_token.figure.unique())


def difference_of(first: Panel, second: Panel, names: tuple[str, str]) -> Panel | None:
    """Of the tables of a figure that two traces have; None where they cannot be subtracted."""
    table = table_difference(first.table, second.table)
    if table is None:
        return None
    largest = _largest(table) if "q" in table else None
    return Panel(
        name=f"{first.name}_difference",
        table=table,
        answer=_table_answer(table, names[1], names[0]),
        note="Lifts are log2." if "lift" in first.name else "",
        preview=largest,
        preview_title="" if largest is None else "The largest significant differences",
    )


def _largest(table: pd.DataFrame) -> pd.DataFrame | None:
    """None where nothing is significant."""
    sure = table[table.q < MAX_Q]
    if sure.empty:
        return None
    return sure.sort_values("estimate", key=lambda values: -values.abs()).head(SHOWN)


def _table_answer(table: pd.DataFrame, name: str, first: str) -> str:
    between = f"{name} less {first}"
    if "q" not in table or not table.q.notna().any():
        return f"{between}: the figures have no intervals, so none is said to differ."
    sure = int((table.q < MAX_Q).sum())
    return (
        f"{between}: {sure:,} of {int(table.q.notna().sum()):,} figures differ (q < {MAX_Q}, as if "
        "their texts had nothing in common)."
    )
