"""Do experts follow the word or the subject, layer by layer."""

import pandas as pd
import plotly.graph_objects as go

from app.figures.theme import Palette, frame


def vocabulary_lines(table: pd.DataFrame, palette: Palette, *, marked: int) -> go.Figure:
    """Vocabulary specialization: as often defined, and what is left of it after chance."""
    lines = {
        "plain, all ids": ("plain", palette.neutral, "dot"),
        "frequent ids": ("share", palette.text, "dash"),
        "chance for these": ("expected", palette.muted, "dot"),
        "frequent ids, corrected": ("corrected", palette.accent, "solid"),
    }
    figure = go.Figure()
    for name, (column, color, dash) in lines.items():
        figure.add_scatter(
            x=table.layer_id.tolist(),
            y=table[column].astype(object).where(table[column].notna(), None).tolist(),
            name=name,
            mode="lines+markers",
            line={"color": color, "dash": dash, "width": 3 if dash == "solid" else 1.5},
            hovertemplate=f"layer %{{x}}, {name}: %{{y:.1%}}<extra></extra>",
        )
    frame(figure, palette, height=300, legend=True)
    figure.add_vline(x=marked, line={"color": palette.grid, "width": 8}, layer="below")
    figure.update_xaxes(title_text="MoE layer", dtick=1, showgrid=False)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05])
    return figure


def information_bars(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """I(expert; domain), and beyond the token, each less what chance gives; p on hover."""
    alone = (table.information - table.information_null).clip(lower=0)
    bars = {
        "domain alone": (alone, table.information_p, palette.neutral),
        "domain beyond the token": (table.beyond.clip(lower=0), table.p, palette.accent),
    }
    figure = go.Figure()
    for name, (values, p, color) in bars.items():
        known = values.notna()
        figure.add_bar(
            x=table.layer_id[known].tolist(),
            y=values[known].tolist(),
            name=name,
            marker={"color": color},
            customdata=p[known].tolist(),
            hovertemplate=f"layer %{{x}}, {name}: %{{y:.4f}} nats"
            "<br>p %{customdata:.3f}<extra></extra>",
        )
    frame(figure, palette, height=280, legend=True)
    figure.update_layout(bargap=0.35, barmode="group")
    figure.update_xaxes(title_text="MoE layer", dtick=1, showgrid=False)
    figure.update_yaxes(title_text="nats a choice", rangemode="tozero")
    return figure
