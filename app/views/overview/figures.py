"""How many experts prefer each domain."""

from math import ceil

import pandas as pd
import plotly.graph_objects as go

from analysis.groups import NOT_ENOUGH
from app.views.shared.heatmap import HEIGHT as MOST_HEIGHT
from app.views.shared.intervals import probability
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, column_text, domain_colors, frame, label, literal
from data.labels import ANY, NONE, TOO_LITTLE

# Of 256 experts, as the article that this repository checks printed them (docs/metrics.md).
ARTICLE_SHARE = {
    "math": 0.148,
    "code": 0.113,
    "multilingual": 0.164,
    "commonsense": 0.094,
    "long": 0.074,
    "other": 0.406,
}
TEXT_HEIGHT, NUMBERED_HEIGHT = 15, 26  # pixels of a line, and of a row with numbers in its bar
ROW, LEAST_ROW, HEIGHT = 44, 26, 360  # pixels of a domain, at most and at least, and of them all
CUT_AT = 1.25  # times the longest bar of a domain
ARTICLE = "article ┃"
PLACES = {  # of a column's right end, in pixels from the bars, by its head
    "experts": 52,
    "share": 102,
    ARTICLE: 160,
    "of choices": 230,
    "significant": 302,
}


def experts_per_domain_bars(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """One bar per domain with its counts; a tick where the article puts it."""
    table = drawn_rows(table)
    colors = domain_colors(list(table.domain), palette)
    rows = list(range(len(table)))
    article = table.domain.map(ARTICLE_SHARE)
    figure = go.Figure(
        go.Bar(
            x=table.share,
            y=rows,
            orientation="h",
            marker={"color": [colors[name] for name in table.domain], "line": {"width": 0}},
            text=[_hover(row) for row in table.to_dict("records")],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    _add_ticks(figure, article, palette)
    row = min(ROW, max(LEAST_ROW, HEIGHT // len(table)))
    frame(figure, palette, height=row * len(table) + 92)
    columns = _columns(table, article, palette)
    figure.update_layout(bargap=0.36, margin={"r": max(PLACES.values()) + 8, "t": 34})
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", tickangle=0, nticks=5)
    figure.update_xaxes(title_text="share of all experts")
    if end := cut_at(table):
        digits = ".0%" if end >= CUT_AT * 0.05 else ".1%"
        figure.update_xaxes(range=[0, end], tickformat=digits)
        columns += [_cut(place, end, palette) for place in rows if table.share[place] > end]
    figure.update_yaxes(
        tickvals=rows,
        ticktext=[label(name) for name in table.domain],
        range=[len(table) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    return figure.update_layout(annotations=columns)


def _add_ticks(figure: go.Figure, article: pd.Series, palette: Palette) -> None:
    figure.add_scatter(
        x=article,
        y=list(range(len(article))),
        mode="markers",
        marker={"symbol": "line-ns", "size": 24, "line": {"width": 2, "color": palette.text}},
        hovertemplate="article: %{x:.1%}<extra></extra>",
    )


def cut_at(table: pd.DataFrame) -> float:
    """Where the bars of experts without a domain end, so that those of domains can be read; 0
    where they all can."""
    table = drawn_rows(table)
    of_none = table.domain.isin([NONE, TOO_LITTLE])
    shares = [*table.share[~of_none], *table.domain.map(ARTICLE_SHARE).dropna()]
    end = CUT_AT * max(shares, default=0)
    return end if table.share[of_none].max() > 2 * end else 0


def _cut(row: int, end: float, palette: Palette) -> dict[str, object]:
    mark = {"size": 17, "color": palette.text}
    return {"text": "»", "x": end, "y": row, "xanchor": "right", "showarrow": False, "font": mark}


def _columns(table: pd.DataFrame, article: pd.Series, palette: Palette) -> list[dict[str, object]]:
    """The numbers beside the bars, under their heads; the article's, where it has any."""
    columns = {
        "experts": [f"<b>{count:,}</b>" for count in table.experts],
        "share": [f"{share:.1%}" for share in table.share],
        ARTICLE: _texts(article, ".1%"),
        "of choices": _texts(table.median_share, ".0%"),
        "significant": _texts(table.significant, ",.0f"),
    }
    closer = 0
    if article.isna().all():
        del columns[ARTICLE]
        closer = PLACES[ARTICLE] - PLACES["share"]
    places = {head: place - closer * (place > PLACES[ARTICLE]) for head, place in PLACES.items()}
    annotations = []
    for head, texts in columns.items():
        color = palette.muted if head == ARTICLE else None
        annotations += [
            column_text(row, text, place=places[head], color=color)
            for row, text in enumerate(texts)
        ]
        annotations.append(
            column_text(-0.5, head, place=places[head], color=palette.muted, above=True)
        )
    return annotations


def _texts(values: pd.Series, form: str) -> list[str]:
    return ["" if pd.isna(value) else f"{value:{form}}" for value in values]


def drawn_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Without the total, and without experts of too little data where there are none."""
    left_out = (table.domain == ANY) | ((table.domain == TOO_LITTLE) & (table.experts == 0))
    return table[~left_out].reset_index(drop=True)


def _hover(row: dict) -> str:
    """The count with its interval, what shuffled labels give, its test, and what these experts
    give the domain, where there is any."""
    lines = [f"{row['experts']:,} experts, {literal(str(row['domain']))}"]
    if pd.notna(row.get("low")):
        lines.append(f"95 % interval: {row['low']:,.0f} to {row['high']:,.0f}")
    if pd.notna(row.get("null")):
        lines.append(f"with labels shuffled over groups of texts: {row['null']:,.1f}")
    if pd.notna(row.get("p")):
        lines.append(f"p {probability(row['p'])}, q {probability(row['q'])}")
    if pd.notna(row.get("median_share")):
        lines.append(
            f"the median of them: {row['median_share']:.0%} of its choices, lift "
            f"{row['median_lift']:.2f}×; {row['above_half']:,} with more than half"
        )
        if pd.notna(row.get("significant")):
            lines.append(f"{row['significant']:,} significant; {row['not_enough']:,} {NOT_ENOUGH}")
    return "<br>".join([*lines, row["note"]] if row.get("note") else lines)


def domains_by_layer(
    table: pd.DataFrame, palette: Palette, *, names: LayerNames = NUMBERED
) -> go.Figure:
    """One stacked bar per layer, in domain colours; experts of no domain come last."""
    table = table[(table.domain != TOO_LITTLE) | (table.experts > 0)]
    colors = domain_colors(list(table.domain.unique()), palette)
    figure = go.Figure()
    for domain, rows in table.groupby("domain", sort=False):
        figure.add_bar(
            x=rows.experts,
            y=rows.layer_id,
            orientation="h",
            name=label(str(domain)),
            marker={"color": colors[str(domain)], "line": {"width": 0}},
            text=rows.experts.where(rows.experts > 1, "").astype(str),
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            customdata=[_hover(row) for row in rows.to_dict("records")],
            hovertext=[names.hover(layer_id) for layer_id in rows.layer_id],
            hovertemplate="%{hovertext}: %{customdata}<extra></extra>",
        )
    num_layers = int(table.layer_id.max()) + 1
    height = min(34 * num_layers + 80, MOST_HEIGHT)
    row = (height - 80) / num_layers  # pixels
    frame(figure, palette, height=height, legend=True)
    figure.update_layout(barmode="stack", bargap=0.25, legend={"traceorder": "normal"})
    figure.update_xaxes(title_text="experts", showgrid=False)
    if row < NUMBERED_HEIGHT:
        figure.update_traces(text=None)
    axis = names.axis(num_layers, step=ceil(TEXT_HEIGHT / row))
    figure.update_yaxes(**axis, autorange="reversed", showgrid=False)
    return figure
