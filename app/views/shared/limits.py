"""What a trace cannot show and why, in lines on its pages."""

import re
from html import escape

import streamlit as st

from app import evidence, sample, stored, summary_kinds
from app.stored import COMPUTED, ESTIMATED
from app.studies import statistics
from app.trace import BY_IDENTITY, Trace
from app.views.shared import needs
from app.views.shared.layer_names import names_of


def limits(trace: Trace) -> list[str]:
    """What this trace cannot show and why, one line per limit."""
    return _limits(trace, stored.source(trace, summary_kinds.SAMPLE))


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _limits(trace: Trace, source: str) -> list[str]:
    if trace.info.counts_only:
        return needs.lacking(trace)
    lines: list[str] = []
    if source == COMPUTED:
        lines = statistics.limits(stored.groups(trace))
    elif source != ESTIMATED:
        found = stored.beside(trace, summary_kinds.SAMPLE)
        lines = [] if found is None else list(map(str, found.parameters["limits"]))
    lines = [_named(line, trace) for line in lines]
    missing = evidence.absence(trace)
    if missing.count():
        lines.append(f"{missing.clause()}.")
    lines.append(sample.grouping_line(trace))
    least, most = trace.k_range
    if trace.k_varies:
        lines.append(
            f"The number of chosen experts varies from token to token, from {least} to {most}. "
            "Shares are shares of choices: a token counts once for each expert it chose."
        )
    elif all(layer.top_k == layer.num_experts for layer in trace.info.layers):
        lines.append(
            "Every token chooses every expert (k = E), so every load is balanced and no expert "
            "can show a preference."
        )
    return lines + needs.lacking(trace)


def _named(line: str, trace: Trace) -> str:
    """With layers as pages call them."""
    if not line.startswith("No token was routed in "):
        return line
    names = names_of(trace)
    return re.sub(r"\blayer (\d+)\b", lambda number: names[int(number[1])], line)


def draw_limits(trace: Trace) -> None:
    draw_lines(limits(trace))


def draw_sample(trace: Trace) -> None:
    """What counts as one observation, where nothing else of a trace is limited."""
    draw_lines([sample.grouping_line(trace)])


def draw_lines(lines: list[str]) -> None:
    """Shown literally: domains are named."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    st.html(f'<ul class="rs-limits">{items}</ul>')
