"""Colours that mean the same on every page, and the frame every figure shares.

Domains: Paul Tol's bright scheme, told apart with any colour vision; so are the distinct colours
of each ground. Log-ratios: blue under, orange over, the page's own background at 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape

import plotly.graph_objects as go

from analysis.domain_names import is_label
from data.labels import INVISIBLE, NONE, TOO_LITTLE

DOMAIN_COLORS = {
    "math": "#4477aa",
    "code": "#e3596b",
    "multilingual": "#2a8c3f",
    "commonsense": "#c4a935",
    "long": "#b0458a",
    "other": "#4fb3d4",
}
TRAINING_COLORS = ("#cf7220", "#7d6bd0", "#c2477f", "#6f8f1f")  # those laid over the first
LONGEST = 28  # characters of a name on an axis
FONT = "Source Sans, sans-serif"
EMPTY = "∅"  # stands for a token of which nothing is seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    ground: str  # the page
    text: str
    muted: str  # secondary text, references
    grid: str
    neutral: str  # marks that mean "no preference"
    accent: str
    diverging: tuple[str, ...]  # under, ..., at 0, ..., over
    sequential: tuple[str, ...]  # little to much
    distinct: tuple[str, ...]  # groups without a colour of their own, the largest first
    foreign: tuple[str, ...]  # domains whose labels are not ours, in order


LIGHT = Palette(
    ground="#fdfdfb",
    text="#24282d",
    muted="#6a7077",
    grid="#e6e6df",
    neutral="#b9bdc1",
    accent="#1b6b73",
    diverging=("#12406f", "#3d7fb8", "#a9cbe6", "#f6f5f1", "#f3c293", "#d9802e", "#8f3f00"),
    sequential=("#f6f5f1", "#cfe3e1", "#8fc1c1", "#4a969b", "#1b6b73", "#0b3f46"),
    distinct=("#557ce4", "#cbb725", "#df677e", "#598007", "#58c0fb", "#62427f", "#893144"),
    foreign=("#117733", "#882255", "#999933", "#332288", "#cc6677", "#44aa99", "#aa4499"),
)
DARK = Palette(
    ground="#14171a",
    text="#e3e5e7",
    muted="#9aa1a8",
    grid="#2b3035",
    neutral="#5a6168",
    accent="#5fb6bd",
    diverging=("#a5d3fb", "#5d9bd3", "#2d567e", "#1d2125", "#74441a", "#cf7d33", "#ffc48a"),
    sequential=("#1d2125", "#1d4449", "#2a6a71", "#459aa2", "#7fcdd2", "#d3f3f3"),
    distinct=("#ab9df7", "#a4b11b", "#ec8caa", "#3b9164", "#69f4ee", "#8c62b4", "#b83f0b"),
    foreign=("#3f9e62", "#c2588f", "#b3b357", "#8579d6", "#d98089", "#5bbfae", "#bd6ab4"),
)


def domain_colors(domains: Sequence[str], palette: Palette) -> dict[str, str]:
    """One colour per domain, the same on every page; labels that are not ours follow in order, the
    second time round nearer to the text's colour, then nearer to the ground's."""
    rounds = (0.0, palette.text), (0.4, palette.text), (0.25, palette.ground)
    colors = dict(DOMAIN_COLORS)
    foreign = [domain for domain in domains if domain not in DOMAIN_COLORS]
    for place, domain in enumerate(foreign):
        again, which = divmod(place, len(palette.foreign))
        part, towards = rounds[again % len(rounds)]
        colors[domain] = _mix(palette.foreign[which], towards, part)
    unnamed = {name: palette.neutral for name in domains if not is_label(name)}
    return colors | unnamed | {NONE: palette.neutral, TOO_LITTLE: palette.grid}


def scale(colors: Sequence[str]) -> list[list[float | str]]:
    """Evenly spaced stops of a Plotly colour scale."""
    last = len(colors) - 1
    return [[place / last, color] for place, color in enumerate(colors)]


def depth_colors(count: int, palette: Palette) -> list[str]:
    """From the first layer (pale) to the last (strong): colour is depth."""
    return [shade(palette.sequential[2:], place / max(count - 1, 1)) for place in range(count)]


def shade(colors: Sequence[str], part: float) -> str:
    """The colour at a part, 0 to 1, of evenly spaced colours."""
    step = part * (len(colors) - 1)
    return _mix(colors[int(step)], colors[min(int(step) + 1, len(colors) - 1)], step % 1)


def ink(color: str) -> str:
    """The colour of a text that lies on this one: black or white, whichever stands out more."""
    return "#000000" if (_luminance(color) + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def _luminance(color: str) -> float:
    """WCAG's relative luminance."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(low: str, high: str, part: float) -> str:
    channels = [
        round(int(low[at : at + 2], 16) * (1 - part) + int(high[at : at + 2], 16) * part)
        for at in (1, 3, 5)
    ]
    return "#{:02x}{:02x}{:02x}".format(*channels)


def layer_step(num_layers: int) -> int:
    """Layers from one tick of an axis to the next."""
    return 1 if num_layers <= 32 else 4


def visible(text: str) -> str:
    """Blanks and line ends of a token as marks."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
    return shown if shown.strip(" ") else "␣" * len(shown)


def unseen(text: str) -> bool:
    """Nothing of it is seen even as visible() shows it: it is empty, or has no glyph."""
    return not INVISIBLE.sub("", "".join(filter(str.isprintable, visible(text))))


def token_mark(text: str) -> str:
    """A token outside its text, as visible(); EMPTY where nothing is seen."""
    return EMPTY if unseen(text) else visible(text)


def literal(text: str) -> str:
    """Text as Plotly shows it unchanged: its markup escaped."""
    return escape(visible(text), quote=False)


def label(text: str) -> str:
    """The same for an axis or a legend, which a long name would fill."""
    return literal(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def frame(figure: go.Figure, palette: Palette, *, height: int, legend: bool = False) -> go.Figure:
    layout = figure.layout  # each set at once: Plotly's update() takes five times as long
    layout.template = _template(palette)
    layout.height, layout.showlegend = height, legend
    layout.margin = {"l": 8, "r": 8, "t": 34 if legend else 10, "b": 8}
    layout.font = {"family": FONT, "size": 13, "color": palette.text}
    return figure


@cache
def _template(palette: Palette) -> go.layout.Template:
    axis = {
        "gridcolor": palette.grid,
        "zerolinecolor": palette.grid,
        "zerolinewidth": 2,
        "linecolor": palette.grid,
        "ticks": "",
        "automargin": True,
        "title": {"font": {"size": 13, "color": palette.muted}, "standoff": 10},
    }
    layout = {
        "autotypenumbers": "strict",  # experts are named by numbers
        "hovermode": "closest",
        "uniformtext": {"mode": "hide", "minsize": 9},  # in bars: it would shrink to specks
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left"},
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 13}},
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": palette.muted,
            "activecolor": palette.accent,
        },
        "coloraxis": {"colorbar": {"outlinewidth": 0, "ticks": ""}},
        "xaxis": axis,
        "yaxis": axis | {"zeroline": False},
    }
    fills = {"fillmode": "overlay", "size": 10, "solidity": 0.2}
    bars = {"marker": {"pattern": fills}}
    heatmaps = {"colorbar": {"outlinewidth": 0, "ticks": ""}}
    return go.layout.Template(layout=layout, data={"bar": [bars], "heatmap": [heatmaps]})


def annotate(figure: go.Figure, annotations: Iterable[dict[str, object]]) -> None:
    """All at once: Plotly takes long to add many one by one."""
    figure.layout.annotations = [*figure.layout.annotations, *annotations]


def column_text(
    row: float, text: str, *, place: int, color: str | None = None, above: bool = False
) -> dict[str, object]:
    """The annotation of a row, flush right at so many pixels beside the bars."""
    annotation: dict[str, object] = {
        "text": text,
        "x": 1,
        "xref": "paper",
        "xshift": place,
        "y": row,
        "yref": "y",
        "xanchor": "right",
        "showarrow": False,
    }
    if color:
        annotation["font"] = {"color": color}
    return annotation | ({"yanchor": "bottom"} if above else {})
