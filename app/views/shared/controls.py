"""What the pages share: the frame of a page, its words, a figure with its table."""

import re
from collections.abc import Callable
from html import escape
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.significance import MAX_Q
from app.error_line import line_of
from app.folders import SHIPPED
from app.views.shared import glossary
from app.views.shared.heatmap import crowded
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import DARK, LIGHT, Palette, domain_colors
from data import report
from data.file_names import file_name

Marks = Literal["points"] | tuple[Literal["box"], ...]  # what is selected in a figure
EXPLAINED = "terms_explained"  # on the page, in this run of it
NOTES = "notes_of_the_link"  # the place of what a link asks for and is not here
MOST_BUTTONS = 16  # layers that stand side by side


SAMPLE_SIZES = {  # as pages call them
    "n_documents": "texts",
    "n_groups": "groups",
    "effective_number": "effective",
    "n_tokens": "tokens",
}
FORMATS = {"p": "%.2g", "q": "%.2g", "effective_number": "%.1f", "design_effect": "%.1f"}
FORMATS |= dict.fromkeys(("hit_rate", "hit_rate_low", "hit_rate_high"), "%.1f%%")
FORMATS["points_over_LRU"] = "%+.1f"


def palette() -> Palette:
    return DARK if st.context.theme.type == "dark" else LIGHT


def page(question: str) -> DeltaGenerator:
    """The frame of a page: its style and its question. What comes and goes below that is drawn into
    the container, for it moves nothing: a control that is moved leaves the link."""
    st.session_state[EXPLAINED] = set()
    st.html(SHIPPED / "app" / "style.css")
    st.html(f'<h1 class="rs-question">{escape(question)}</h1>')
    said = st.container(key="said", gap="small")
    st.session_state[NOTES] = said.empty()
    return said


def refused(text: str, error: Exception) -> None:
    """What cannot be shown, and why: the reason is shown literally."""
    st.error(text)
    st.code(line_of(error), language=None, wrap_lines=True)


def answer(text: str) -> None:
    """The one sentence that says what the figure shows. Shown literally; terms are explained."""
    st.html(f'<p class="rs-answer">{_explained(text)}</p>')


def note(text: str) -> None:
    st.html(f'<p class="rs-note">{_explained(text)}</p>')


def _explained(text: str) -> str:
    """Escaped, its terms explained where they come first on the page."""
    return glossary.marked(escape(text), _said())


def first_time(what: str) -> bool:
    """On the page, in this run of it."""
    said = _said()
    new = what not in said
    said.add(what)
    return new


def _said() -> set[str]:
    said: set[str] = st.session_state.setdefault(EXPLAINED, set())
    return said


def legend(names: list[str]) -> None:
    """Domain colours, once per page, instead of a legend in every figure."""
    colors = domain_colors(names, palette())
    swatches({name: colors[name] for name in names})


def swatches(colors: dict[str, str]) -> None:
    items = [
        f'<span><i style="background:{color}"></i>{escape(name)}</span>'
        for name, color in colors.items()
    ]
    st.html(f'<p class="rs-legend">{"".join(items)}</p>')


def headline(figures: list[tuple[str, str, str]]) -> None:
    """(label, value, what to compare it with): a number never stands alone."""
    with st.grid(len(figures), min_column_width=140):
        for label, value, reference in figures:
            meaning = glossary.meaning(label)
            st.metric(label, value, reference, delta_color="off", delta_arrow="off", help=meaning)


def unmarked(text: str) -> str:
    """Text as Markdown shows it unchanged: a metric's value is Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def layer(
    num_layers: int, names: LayerNames = NUMBERED, *, labelled: bool = True, **shown: Any
) -> int:
    """`shown`: how it is kept, by its key."""
    layers = range(num_layers)
    shown |= {"format_func": names.choice}
    if num_layers > MOST_BUTTONS:
        label: Any = "visible" if labelled else "collapsed"
        return st.select_slider("MoE layer", layers, label_visibility=label, **shown)
    chosen = st.segmented_control("MoE layer", layers, default=0, required=True, **shown)
    return chosen or 0


def only_sure(num_rows: int, num_columns: int) -> bool:
    """Whether the cells of a heatmap that are not significant are to be left out: asked where it
    has no room for dots."""
    if not crowded(num_rows, num_columns):
        return False
    return st.toggle(f"Only what is sure (q < {MAX_Q})", key="sure", bind="query-params")


def choice(label: str, options: list[str], *, key: str, default: str = "") -> str:
    """One of a few words, kept in the link. A `default` that is given may change from run to run:
    until the user chooses, it is chosen."""

    def choose() -> None:
        st.session_state[f"{key}_chosen"] = True

    if default and not (f"{key}_chosen" in st.session_state or key in st.query_params):
        st.session_state[key] = default
    chosen = st.segmented_control(
        label,
        options,
        default=default or options[0],
        key=key,
        bind="query-params",
        required=True,
        on_change=choose,
    )
    return chosen or default or options[0]


def chart(
    figure: go.Figure,
    *,
    alt: str,
    key: str,
    on_select: Any = "ignore",
    select: Marks = "points",
) -> Any:
    zoomable = select != "points"
    if on_select != "ignore":
        figure.for_each_trace(_keep_others)
    return st.plotly_chart(
        figure,
        theme=None,
        key=key,
        alt=alt,
        on_select=on_select,
        selection_mode=select,
        config={"displaylogo": False, "displayModeBar": zoomable, "scrollZoom": False},
    )


def _keep_others(trace: Any) -> None:
    """A click fades no other mark, and shows no invisible one."""
    opacity = trace.marker.opacity if trace.type in ("bar", "scatter") else 0
    if opacity is None or (isinstance(opacity, int | float) and opacity > 0):
        trace.unselected.marker.opacity = 1 if opacity is None else opacity


def clicked(key: str) -> tuple[int, int] | None:
    """(row, column) of the cell that was clicked in a heatmap shown with on_select."""
    points = st.session_state[key].selection.points
    return (int(points[0]["y"]), int(points[0]["x"])) if points else None


def table(frame: pd.DataFrame, *, name: str, trace: str) -> None:
    preview(frame, name=name)
    download(frame, name=name, trace=trace)


def preview(frame: pd.DataFrame, *, name: str, on_select: Callable[[], None] | None = None) -> None:
    """A table on the page. A column without any value is left out; an empty cell stays empty.
    `on_select`: called when a row is selected; its widget is rows_key(name)."""
    shown = frame.loc[:, ~(frame.isna() | (frame == "")).all()]
    headings: dict[Any, Any] = {column: _column(shown[column]) for column in shown}
    if {"tokens", "n_tokens"} <= set(shown):
        headings["n_tokens"] = st.column_config.NumberColumn("of tokens", format="localized")
    st.dataframe(
        shown,
        hide_index=True,
        alt=name.replace("_", " "),
        column_config=headings,
        placeholder="",
        **selectable_rows(name, on_select),
    )


def selectable_rows(name: str, on_select: Callable[[], None] | None) -> dict[str, Any]:
    """Of a table of that name."""
    if on_select is None:
        return {}
    return {"key": rows_key(name), "on_select": on_select, "selection_mode": "single-row"}


def rows_key(name: str) -> str:
    return f"rows_{name}"


def _column(values: pd.Series) -> Any:
    name = str(values.name)
    title = SAMPLE_SIZES.get(name, name.removesuffix("_id").replace("_", " "))
    shown: dict[str, Any] = {"label": title, "help": glossary.meaning(title)}
    if pd.api.types.is_float_dtype(values):
        return st.column_config.NumberColumn(**shown, format=FORMATS.get(name) or _digits(values))
    if pd.api.types.is_integer_dtype(values):
        return st.column_config.NumberColumn(**shown, format="localized")
    return st.column_config.TextColumn(**shown)


def _digits(values: pd.Series) -> str:
    """Three decimals, which none but 0 itself shows as 0."""
    return "%.4g" if ((values != 0) & (values.abs() < 0.0005)).any() else "%.3f"


def download(frame: pd.DataFrame, *, name: str, trace: str, key: str = "") -> None:
    """`key`: where the page has two of this name."""
    st.download_button(
        f"{name.replace('_', ' ')}.csv",
        lambda: report.csv_text(frame),
        file_name=file_name(trace, name) + ".csv",
        mime="text/csv",
        on_click="ignore",
        key=f"csv_{key or name}",
        type="tertiary",
        icon=":material/download:",
        help=f"{len(frame):,} rows",
    )


def method(*entries: str, compared: tuple[str, ...] = ()) -> None:
    """The entries of docs/metrics.md that this page is made of, and the rows of its definitions
    side by side whose metric starts with one of `compared`."""
    with st.expander("How is this computed?", icon=":material/function:"):
        sections = _metric_sections()
        for entry in entries:
            st.markdown(_without_files(sections[entry]))
        if compared:
            st.markdown(
                f"##### Definitions, side by side\n\n{_without_files(_side_by_side(compared))}"
            )
        st.caption("From `docs/metrics.md`, which gives every formula and its source.")


def _without_files(text: str) -> str:
    """Links to files of the repository as their names: a page has no such files."""
    return re.sub(r"\[([^\]]+)\]\((?!https?://)[^)]*\)", r"\1", text)


def _side_by_side(compared: tuple[str, ...]) -> str:
    """Paper, released code and RouteScope, on a toy case each."""
    text = (SHIPPED / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = text.split("\n## Definitions, side by side\n", 1)[1]
    heads = ("| metric", "|---", *(f"| {metric}" for metric in compared))
    return "\n".join(
        line for line in section.split("\n### ")[0].split("\n") if line.startswith(heads)
    )


def _metric_sections() -> dict[str, str]:
    """Entries of docs/metrics.md by name."""
    text = (SHIPPED / "docs" / "metrics.md").read_text(encoding="utf-8")
    entries = [part.split("\n## ")[0] for part in text.split("\n### ")[1:]]
    return {entry.split("\n", 1)[0].strip(): f"##### {entry}" for entry in entries}
