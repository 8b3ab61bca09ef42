"""Which domains an expert is chosen for, more or less often than chance.

L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.groups import NOT_ENOUGH, in_words
from analysis.significance import MAX_Q
from app.studies.estimates import COMING
from app.views.shared.heatmap import (
    RATIOS,
    cell_heatmap,
    dot_sure_cells,
    frame_columns,
    frame_rows,
    hatch_cells,
    ratio_axis,
)
from app.views.shared.intervals import RATIO, probability
from app.views.shared.theme import (
    Palette,
    annotate,
    column_text,
    domain_colors,
    frame,
    label,
    literal,
)

LIMIT = 2  # log2: from a quarter to four times
REACH = 3  # log2: bars end at an eighth and eight times


def domain_order(lift_EG: np.ndarray) -> np.ndarray:
    """Experts grouped by their strongest domain, the strongest first; dead ones last."""
    known_EG = np.nan_to_num(lift_EG, nan=-np.inf)
    strongest_E, best_E = known_EG.argmax(-1), known_EG.max(-1)
    return np.lexsort((-best_E, strongest_E, np.isinf(best_E)))


def lift_grid(rows: pd.DataFrame, column: str, domains: Sequence[str]) -> np.ndarray:
    """A column of one layer's rows of a lift_table [E, G], NaN where it is empty."""
    return rows[column].to_numpy(float, na_value=np.nan).reshape(-1, len(domains))


def lift_heatmap(
    rows: pd.DataFrame,
    palette: Palette,
    *,
    domains: Sequence[str],
    order_E: np.ndarray,
    marked: int,
    chosen: Collection[str] = (),
    only_sure: bool = False,
) -> go.Figure:
    """Domains by experts of one layer's lift_table, colour = log2 lift; the marked expert and the
    chosen domains are framed. A dot: q < 0.05, or the only cells that are left. Hatched: too
    few independent texts to say."""
    log_GE = lift_grid(rows, "estimate", domains)[order_E].T
    undecided_GE = (rows.note == NOT_ENOUGH).to_numpy().reshape(-1, len(domains))[order_E].T
    hover = np.array([lift_text(row) for row in rows.itertuples()]).reshape(-1, len(domains))
    sure_GE = lift_grid(rows, "q", domains)[order_E].T < MAX_Q
    shown_GE = sure_GE if only_sure else ~undecided_GE
    figure = cell_heatmap(
        np.where(shown_GE, np.clip(log_GE, -LIMIT - 1, LIMIT + 1), np.nan),
        palette,
        rows=[label(domain) for domain in domains],
        columns=[str(expert) for expert in order_E],
        hover_RC=hover[order_E].T,
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        height=44 * len(domains) + 90,
    )
    hatch_cells(figure, undecided_GE & ~np.array(only_sure), palette)
    dot_sure_cells(figure, sure_GE, palette)
    frame_columns(figure, np.flatnonzero(order_E == marked), len(domains), palette)
    of_domains = [place for place, domain in enumerate(domains) if domain in chosen]
    frame_rows(figure, of_domains, len(order_E), palette)
    figure.update_xaxes(title_text="expert", tickfont={"size": 10}, tickangle=0)
    return figure


def lift_text(row: Any) -> str:
    """All that is known of a cell, one line per fact."""
    lines = [f"expert {row.expert_id}, {literal(row.domain)}"]
    if not pd.isna(row.estimate):
        span = "" if pd.isna(row.low) else f" ({RATIO.span(2**row.low, 2**row.high)})"
        lines.append(f"<b>{RATIO.text(2**row.estimate)}</b>{span}, by chance 1×")
    if not pd.isna(row.p):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)}")
    lines.append(f"{in_words(row.n_documents, row.n_groups)}, {row.n_tokens:,} choices")
    if not pd.isna(row.smallest_detectable):
        lines.append(
            f"smallest lift that these texts can detect: {RATIO.text(2**row.smallest_detectable)}"
        )
    return "<br>".join([*lines, f"<i>{row.note}</i>"] if row.note else lines)


def _pattern(note: str) -> str:
    return "/" if note not in ("", COMING) else ""


def lift_bars(rows: pd.DataFrame, palette: Palette) -> go.Figure:
    """One expert's lift by domain, to both sides of chance, with its interval; numbers in a column.

    Full colour and a dot: q < 0.05. Hatched: too few independent texts to say.
    """
    colors = domain_colors(list(rows.domain), palette)
    significant = (rows.q < MAX_Q).fillna(False).tolist()
    places = list(range(len(rows)))
    log = rows[["estimate", "low", "high"]].astype(float).clip(-REACH, REACH)
    figure = go.Figure(
        go.Bar(
            x=log.estimate,
            y=places,
            orientation="h",
            marker={
                "color": [colors[domain] for domain in rows.domain],
                "opacity": [1.0 if clear else 0.45 for clear in significant],
                "pattern": {"shape": [_pattern(note) for note in rows.note], "size": 6},
            },
            error_x={
                "type": "data",
                "array": (log.high - log.estimate).clip(0),
                "arrayminus": (log.estimate - log.low).clip(0),
                "color": palette.text,
                "thickness": 1.2,
                "width": 3,
            },
            hovertext=[lift_text(row) for row in rows.itertuples()],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    frame(figure, palette, height=34 * len(rows) + 60)
    figure.update_layout(margin={"r": 70}, bargap=0.32)
    ticks = [-REACH + 1, 0, REACH - 1]
    figure.update_xaxes(
        range=[-REACH, REACH],
        tickvals=ticks,
        ticktext=[RATIOS[tick] for tick in ticks],
        zeroline=True,
        zerolinecolor=palette.muted,
    )
    figure.update_yaxes(
        tickvals=places,
        ticktext=[label(name) for name in rows.domain],
        autorange="reversed",
        showgrid=False,
    )
    texts = ["" if pd.isna(estimate) else RATIO.text(2**estimate) for estimate in rows.estimate]
    annotate(
        figure,
        (
            column_text(place, f"{text} •", place=68)
            if clear
            else column_text(place, text, place=56, color=palette.muted)
            for place, text, clear in zip(places, texts, significant, strict=True)
        ),
    )
    return figure
