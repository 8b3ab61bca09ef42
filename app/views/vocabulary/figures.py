"""Do experts follow the word or the subject, layer by layer."""

import pandas as pd
import plotly.graph_objects as go

from analysis.groups import in_words
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame
from data.words import counted


def vocabulary_lines(
    table: pd.DataFrame, palette: Palette, *, marked: int, names: LayerNames = NUMBERED
) -> go.Figure:
    """Vocabulary specialization: as it is often defined, and what is left of it after chance."""
    lines = {
        "plain, all ids": ("plain", palette.neutral, "dot"),
        "frequent ids": ("share", palette.text, "dash"),
        "frequent ids, by chance": ("expected", palette.muted, "dot"),
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
            text=[names.hover(layer_id) for layer_id in table.layer_id],
            hovertemplate=f"%{{text}}, {name}: %{{y:.1%}}<extra></extra>",
        )
    corrected = figure.data[-1]
    corrected.customdata = [_corrected_hover(row) for row in table.to_dict("records")]
    corrected.hovertemplate = "%{text}, corrected: %{y:.1%}%{customdata}<extra></extra>"
    corrected.error_y = _reach(table, table.corrected, palette)
    frame(figure, palette, height=300, legend=True)
    figure.add_vline(x=marked, line={"color": palette.grid, "width": 8}, layer="below")
    ends = [-0.5, len(table) - 0.5]  # also where most layers are still empty
    figure.update_xaxes(**names.axis(len(table)), showgrid=False, zeroline=False, range=ends)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05])
    return figure


def _corrected_hover(row: dict) -> str:
    lines = [""]
    if pd.notna(row["low"]):
        lines.append(f"95 % interval: {row['low']:.1%} to {row['high']:.1%}")
    if pd.notna(row["p"]):
        lines.append(f"{row['null']:.1%} with words permuted within each text")
        q = f", q {row['q']:.3f} (over layers)" if pd.notna(row["q"]) else ""
        lines.append(f"p {row['p']:.3f}{q}")
    return "<br>".join([*lines, _sample_text(row)])


def information_bars(
    table: pd.DataFrame, palette: Palette, *, names: LayerNames = NUMBERED
) -> go.Figure:
    """I(expert; domain), and beyond the token with its interval, each less what chance gives."""
    alone = (table.information - table.information_null).clip(lower=0)
    figure = go.Figure()
    bars = {
        "domain alone": (alone, "information_", palette.neutral),
        "domain beyond the token": (table.beyond.clip(lower=0), "", palette.accent),
    }
    for name, (values, of, color) in bars.items():
        rows = table[values.notna()]
        figure.add_bar(
            x=rows.layer_id.tolist(),
            y=values[values.notna()].tolist(),
            name=name,
            marker={"color": color},
            customdata=[_information_hover(row, of) for row in rows.to_dict("records")],
            hovertext=[names.hover(layer_id) for layer_id in rows.layer_id],
            hovertemplate=f"%{{hovertext}}, {name}: %{{y:.4f}} nats"
            "<br>%{customdata}<extra></extra>",
        )
        if not of:
            figure.data[-1].error_y = _reach(rows, values[values.notna()], palette)
    frame(figure, palette, height=280, legend=True)
    figure.update_layout(bargap=0.35, barmode="group")
    figure.update_xaxes(**names.axis(int(table.layer_id.max()) + 1), showgrid=False)
    figure.update_yaxes(title_text="nats per choice", rangemode="tozero")
    return figure


def _reach(rows: pd.DataFrame, values: pd.Series, palette: Palette) -> dict:
    """The interval as lengths of a line, above 0."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (rows.high - values).clip(lower=0).astype(float).fillna(0).tolist(),
        "arrayminus": (values - rows.low.clip(lower=0)).clip(0).astype(float).fillna(0).tolist(),
        "color": palette.text,
        "thickness": 1.5,
        "width": 0,
    }


def _information_hover(row: dict, of: str) -> str:
    null = row["information_null" if of else "null"]
    lines = [f"{null:.4f} by chance", f"p {row[f'{of}p']:.3f}, q {row[f'{of}q']:.3f} (over layers)"]
    if not of and pd.notna(row["low"]):
        lines.insert(0, f"95 % interval: {row['low']:.4f} to {row['high']:.4f}")
    return "<br>".join([*lines, _sample_text(row)])


def _sample_text(row: dict) -> str:
    tokens = counted(row["n_tokens"], "token", "tokens")
    return f"{in_words(row['n_documents'], row['n_groups'])}, {tokens}"
