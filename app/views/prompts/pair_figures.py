"""Two texts one above the other: C = columns, L = MoE layers."""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from app.views.shared.heatmap import amount_axis, cell_heatmap, hatch_cells, hover_on_cells
from app.views.shared.theme import Palette, ink, shade, token_mark, unseen, visible

LONGEST = 12  # characters of a label
LINE_END = "\n"


def flip_heatmap(
    share_LC: np.ndarray,
    palette: Palette,
    *,
    layers: Sequence[str],
    tokens: Sequence[tuple[str, str]],
    same_C: np.ndarray,
    hover_LC: np.ndarray,
) -> go.Figure:
    """Layers, which are escaped, by columns: the share of a token's choices that are exchanged;
    hatched where nothing is compared. `tokens` of both texts, one of them empty in a gap."""
    labels = [_label(*both, same=same) for both, same in zip(tokens, same_C.tolist(), strict=True)]
    figure = cell_heatmap(
        share_LC,
        palette,
        rows=layers,
        columns=labels,
        coloraxis=amount_axis(palette, high=1, title="exchanged", tickformat=".0%"),
        height=34 * len(share_LC) + 110,
        hover_RC=hover_LC,
    )
    hover_on_cells(figure)
    hatch_cells(figure, np.isnan(share_LC), palette)
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels)
    return figure.update_xaxes(tickangle=-90, tickfont={"size": 11})


def token_columns(
    tokens: Sequence[tuple[str, str]],
    palette: Palette,
    *,
    same_C: np.ndarray,
    share_C: np.ndarray,
    strongest: Sequence[tuple[str, str]],
    titles: Sequence[str],
) -> str:
    """Two texts as HTML, a column a token: filled by the share of its choices that are
    exchanged, dashed where the texts differ. A line of the text ends where both do."""
    columns = []
    for both, same, share, ids, title in zip(
        tokens, same_C.tolist(), share_C.tolist(), strongest, titles, strict=True
    ):
        fill = "" if np.isnan(share) else shade(palette.sequential, share)
        style = f' style="background:{fill};color:{ink(fill)}"' if fill else ""
        cells = [
            f"<b{style}>{_text(token)}<sub>{expert}</sub></b>" if token or expert else "<b></b>"
            for token, expert in zip(both, ids, strict=True)
        ]
        kind = ("flip" if share > 0 else "kept") if same else "other"
        columns.append(f'<span class="{kind}" title="{escape(title)}">{"".join(cells)}</span>')
        if same and LINE_END in both[0]:
            columns.append("<i></i>")
    return _group("".join(columns), "rs-pair", "tokens of both texts")


def tokens_alone(tokens: Sequence[str]) -> str:
    """One text as HTML."""
    parts = [
        f"<span><b>{_text(token)}</b></span>{'<i></i>' if LINE_END in token else ''}"
        for token in tokens
    ]
    return _group("".join(parts), "rs-pair rs-alone", "tokens of the text")


def _group(parts: str, kind: str, words: str) -> str:
    return f'<div class="{kind}" role="group" aria-label="{words}">{parts}</div>'


def _text(token: str) -> str:
    return escape(token_mark(token) if unseen(token) else visible(token))


def _label(first: str, second: str, *, same: bool) -> str:
    names = [first] if same else [name for name in (first, second) if name]
    label = "/".join(token_mark(name.strip(" ") or name) for name in names)
    short = label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
    return escape(short, quote=False)
