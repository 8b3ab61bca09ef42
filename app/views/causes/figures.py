"""What the loss does when routing is changed."""

import pandas as pd
import plotly.graph_objects as go

from analysis.cause_tests import CONFIRMED, INCOMPARABLE, NOT_CONFIRMED
from analysis.groups import NOT_ENOUGH, in_words
from app.views.shared.intervals import probability
from app.views.shared.theme import (
    Palette,
    annotate,
    column_text,
    domain_colors,
    frame,
    label,
    literal,
)
from data.words import counted

ROW = 46  # pixels
SYMBOLS = {"own": "circle", "others": "diamond-open", "controls' own": "square-open"}
SHIFTS = {"own": -0.2, "others": 0.0, "controls' own": 0.2}
NAMES = {
    "own": "own domain",
    "others": "other domains",
    "controls' own": "own domain, as many choices of comparable experts",
}
SHORT = {NOT_ENOUGH: "too few texts", INCOMPARABLE: "nothing comparable"}  # beside a row


def cause_rows(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """One row per specialist: change on its own domain, the others, and of its controls."""
    experts = table[table.group == "own"].reset_index(drop=True)
    rows = {
        (row.layer_id, row.expert_id, row.domain): place
        for place, row in enumerate(experts.itertuples())
    }
    figure = go.Figure()
    colors = domain_colors(list(experts.domain), palette)
    for group, symbol in SYMBOLS.items():
        here = table[table.group == group]
        keys = zip(here.layer_id, here.expert_id, here.domain, strict=True)
        own = [colors[domain] for domain in here.domain]
        _points(
            figure,
            here,
            x=here.estimate.tolist(),
            y=[rows[key] + SHIFTS[group] for key in keys],
            name=NAMES[group],
            marker={
                "symbol": symbol,
                "size": 11 if group == "own" else 9,
                "color": own if group == "own" else palette.muted,
            },
            bar="error_x",
        )
        figure.data[-1].error_x.color = palette.muted
    frame(figure, palette, height=110 + ROW * len(experts), legend=True)
    figure.update_layout(margin={"r": 130})
    shades = experts.verdict.map({CONFIRMED: palette.text}).fillna(palette.muted)
    verdicts = [SHORT.get(verdict, verdict) for verdict in experts.verdict]
    annotate(
        figure,
        (
            column_text(row, verdict, place=122, color=shade)
            for row, (verdict, shade) in enumerate(zip(verdicts, shades, strict=True))
        ),
    )
    figure.add_vline(x=0, line={"color": palette.neutral, "width": 1})
    figure.update_xaxes(title_text="change in loss without the expert (nats per token)")
    names = [
        f"{label(str(row.domain))}  {row.layer_id}:{row.expert_id}" for row in experts.itertuples()
    ]
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5]
    )
    return figure


def verdict_bars(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """One bar per domain: how many of its specialists are confirmed, not confirmed, or not
    judged."""
    own = table[table.group == "own"]
    domains = sorted(own.domain.unique())
    colors = domain_colors(domains, palette)
    shades: dict[str, str | list[str]] = {CONFIRMED: [colors[domain] for domain in domains]}
    shades |= {NOT_CONFIRMED: palette.neutral, INCOMPARABLE: palette.grid}
    shades |= {NOT_ENOUGH: palette.grid}
    figure = go.Figure()
    for verdict, shade in shades.items():
        of = own[own.verdict == verdict]
        if of.empty:
            continue
        counts = of.groupby("domain").size().reindex(domains, fill_value=0).tolist()
        figure.add_bar(
            orientation="h",
            y=[label(domain) for domain in domains],
            x=counts,
            name=verdict,
            marker={"color": shade},
            text=counts,
            textposition="inside",
            insidetextanchor="start",
            hovertemplate="%{y}: %{x} " + verdict + "<extra></extra>",
        )
    frame(figure, palette, height=90 + 30 * len(domains))
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="specialists left out, one at a time")
    figure.update_yaxes(autorange="reversed")
    return figure


def change_lines(table: pd.DataFrame, palette: Palette, *, title: str) -> go.Figure:
    """Change in loss by domain against what was changed, intervals as bars."""
    domains = [domain for domain in table.domain.unique() if domain != "all"]
    colors = domain_colors(domains, palette)
    figure = go.Figure()
    for domain in domains:
        here = table[table.domain == domain]
        _points(
            figure,
            here,
            x=here.value.tolist(),
            y=here.estimate.tolist(),
            name=label(domain),
            marker={"size": 7, "color": colors[domain]},
            bar="error_y",
        )
        figure.data[-1].mode = "lines+markers"
        figure.data[-1].line = {"color": colors[domain], "width": 2}
    frame(figure, palette, height=340)
    values = sorted(table.value.unique().tolist())
    figure.update_xaxes(title_text=title, tickvals=values, type="linear")
    figure.update_yaxes(title_text="change in loss (nats per token)", rangemode="tozero")
    return figure


def change_points(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """One change: one point per domain."""
    here = table[table.domain != "all"].reset_index(drop=True)
    colors = domain_colors(list(here.domain), palette)
    figure = go.Figure()
    _points(
        figure,
        here,
        x=here.estimate.tolist(),
        y=list(range(len(here))),
        name="",
        marker={"size": 11, "color": [colors[domain] for domain in here.domain]},
        bar="error_x",
    )
    frame(figure, palette, height=340)
    figure.data[0].error_x.color = palette.muted
    figure.update_xaxes(title_text="change in loss<br>(nats per token)", rangemode="tozero")
    figure.update_yaxes(
        tickvals=list(range(len(here))),
        ticktext=[label(name) for name in here.domain],
        autorange="reversed",
    )
    return figure


def _points(
    figure: go.Figure,
    table: pd.DataFrame,
    *,
    x: list[float],
    y: list[float],
    name: str,
    marker: dict[str, object],
    bar: str,
) -> None:
    """Estimates with their intervals; a point without one says so on hover."""
    up, down = table.high - table.estimate, table.estimate - table.low
    interval = {
        "type": "data",
        "symmetric": False,
        "array": up.astype("Float64").fillna(0).tolist(),
        "arrayminus": down.astype("Float64").fillna(0).tolist(),
        "thickness": 1.5,
        "width": 3,
    }
    hover = [_hover(row, name) for _, row in table.iterrows()]
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        name=name,
        marker=marker,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        **{bar: interval},
    )


def _hover(row: pd.Series, name: str) -> str:
    interval = "no interval: too few texts"
    if not pd.isna(row.low):
        interval = f"95 % interval: {row.low:+.4f} to {row.high:+.4f} (no effect: 0)"
        interval += f"<br>p {probability(row.p)}, q {probability(row.q)}"
    return (
        f"{literal(row.domain)}, {name}: {row.estimate:+.4f} nats per token<br>{interval}"
        f"{_choices(row)}<br>{in_words(row.n_documents, row.n_groups)}, "
        f"{counted(row.n_tokens, 'token', 'tokens')}"
    )


def _choices(row: pd.Series) -> str:
    """Nats per choice taken away, of an expert left out."""
    if "per_choice" not in row or pd.isna(row.per_choice):
        return ""
    return f"<br>{row.per_choice:+.4f} nats per choice, {row.n_choices:,} choices"
