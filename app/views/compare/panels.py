"""What differs between two traces, or two parts of one: second less first."""

import pandas as pd
import streamlit as st
from duckdb import DuckDBPyConnection

from analysis.differences.table_differences import table_difference
from analysis.significance import MAX_Q
from app.studies import compared
from app.studies.compared import Compared, Renaming, Side
from app.trace import BY_IDENTITY, Trace
from app.views.compare import figures
from app.views.shared.heatmap import ZOOM, crowded, sure_mark
from app.views.shared.intervals import MEASURES, RATIO
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from app.workspace import JOB_SECONDS
from data.labels import ALL, ALL_DOMAINS

METHOD = ("load_differences", "lift_differences", "figure_differences", "ratio_differences")
READING = "Bar: 95 % interval over groups of texts. "
SHOWN = 10  # rows of a table
HATCHED = " Hatched: too few independent texts to say."


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def difference(first: Trace, second: Trace, _renaming: Renaming | None, why: str) -> Compared:
    """Computed once; `why` tells what renames experts from what does not."""
    with first.cursor(seconds=JOB_SECONDS) as con, second.cursor(seconds=JOB_SECONDS) as other:
        return compared.compare(side_of(con, first), side_of(other, second), renaming=_renaming)


def side_of(con: DuckDBPyConnection, trace: Trace) -> Side:
    return Side(con, trace.info, trace.name, str(trace.path))


def headline(found: Compared) -> list[tuple[str, str, str]]:
    """What changed, in numbers."""
    numbers = []
    if found.loads is not None:
        sure, tested = int((found.loads.q < MAX_Q).sum()), int(found.loads.q.notna().sum())
        numbers.append(("Experts whose load changed", f"{sure:,}", f"of {tested:,}, q < {MAX_Q}"))
        known = found.loads.estimate.dropna().abs()
        if len(known):
            numbers.append(("Median change of a load", RATIO.text(2 ** known.median()), "none 1×"))
    for row in whole(found).to_dict("records"):
        measure = figures.PER_TOKEN[row["figure"]]
        if row["figure"] != "experts per token" or row["estimate"]:
            change = f"{row['first']:{measure.form}} → {row['second']:{measure.form}}"
            said = f"{row['estimate']:+{measure.form}}"
            said += figures.change_span(measure, row["low"], row["high"])
            numbers.append((measure.title.capitalize(), change, said))
    return numbers[:5]


def whole(found: Compared) -> pd.DataFrame:
    """The rows of per_token of all layers and texts."""
    if found.per_token.empty:
        return found.per_token
    rows = found.per_token
    return rows[rows.layer_id.isna() & (rows.domain == ALL)]


def loads(
    first: Trace, found: Compared, palette: Palette, *, only_sure: bool = False
) -> list[Panel]:
    if found.loads is None:
        return []
    names = names_of(first)
    shape = first.info.num_layers, first.info.num_experts
    mark, largest = sure_mark(crowded=crowded(*shape)), _largest(found.loads)
    return [
        Panel(
            name="load_differences",
            table=found.loads,
            answer=_loads_answer(found, first),
            figure=figures.load_difference_heatmap(
                found.loads, palette, shape_LE=shape, only_sure=only_sure, names=names
            ),
            alt="Heatmap: load of every expert in the second over its load in the first",
            note=f"Colour: an expert's share of the layer's choices, second over first. {mark}: "
            f"q < {MAX_Q}.{HATCHED}" + (ZOOM if crowded(*shape) else ""),
            preview=largest,
            preview_title="" if largest is None else "The largest changes that are sure",
        )
    ]


def _largest(table: pd.DataFrame) -> pd.DataFrame | None:
    """None where nothing is sure."""
    sure = table[table.q < MAX_Q]
    if sure.empty:
        return None
    return sure.sort_values("estimate", key=lambda values: -values.abs()).head(SHOWN)


def _loads_answer(found: Compared, first: Trace) -> str:
    table = found.loads
    assert table is not None
    tested, sure = int(table.q.notna().sum()), table[table.q < MAX_Q]
    if not tested:
        return "There are too few independent texts to say which loads changed."
    if sure.empty:
        return (
            f"Of {tested:,} experts, none has a load that changed by more than another sample of "
            "texts could change it."
        )
    top = sure.sort_values("estimate", key=lambda values: -values.abs()).iloc[0]
    names = names_of(first)
    span = RATIO.span(2**top.low, 2**top.high)
    change = f" to {RATIO.text(2**top.estimate)} of its share ({span})" if span else ""
    return (
        f"{len(sure):,} of {tested:,} experts have another load (q < {MAX_Q}); the largest change "
        f"is that of expert {top.expert_id} in {names[int(top.layer_id)]}{change}."
    )


def lifts(
    first: Trace, found: Compared, palette: Palette, *, layer_id: int, only_sure: bool = False
) -> list[Panel]:
    """None where the two share no experts or no domains."""
    experts = first.info.layers[layer_id].num_experts
    if found.lifts is None:
        return []
    rows = found.lifts[found.lifts.layer_id == layer_id].reset_index(drop=True)
    domains = [name for name in found.domains if name in set(rows.domain)]
    sure = int((found.lifts.q < MAX_Q).sum())
    tested = int(found.lifts.q.notna().sum())
    many = crowded(len(domains), experts)
    return [
        Panel(
            name="lift_differences",
            table=found.lifts,
            answer=f"Of {tested:,} preferences for a domain, over all layers, {sure:,} changed "
            f"(q < {MAX_Q})."
            if tested
            else "There are too few independent texts to say which preferences changed.",
            figure=figures.lift_difference_heatmap(
                rows, palette, domains=domains, experts=experts, only_sure=only_sure
            ),
            alt="Heatmap: lift of every expert and domain in the second over that in the first",
            note=f"Colour: lift in the second over lift in the first. {sure_mark(crowded=many)}: "
            f"q < {MAX_Q} over all layers.{HATCHED}",
        )
    ]


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
            f"{len(rows)} layers (q < {MAX_Q})."
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


def differences_of(panels: list[Panel], names: list[str]) -> list[Panel]:
    """Of the tables of a figure that several traces have: each less the first, as far as tables
    can be subtracted."""
    found = [
        (name, table_difference(panels[0].table, panel.table))
        for panel, name in zip(panels[1:], names[1:], strict=True)
    ]
    return [
        Panel(
            name=f"{panels[0].name} {name} less {names[0]}",
            table=table,
            answer=_table_answer(table, name, names[0]),
            preview=_largest(table) if "q" in table else None,
        )
        for name, table in found
        if table is not None
    ]


def _table_answer(table: pd.DataFrame, name: str, first: str) -> str:
    between = f"{name} less {first}"
    if "q" not in table or not table.q.notna().any():
        return f"{between}: the figures have no intervals, so none is said to differ."
    sure = int((table.q < MAX_Q).sum())
    return (
        f"{between}: {sure:,} of {int(table.q.notna().sum()):,} figures differ (q < {MAX_Q}, as if "
        "their texts had nothing in common)."
    )
