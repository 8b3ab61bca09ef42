"""The trace on show: which of those there are, what it is, and what to do where there is none."""

from collections.abc import Collection, Sequence
from html import escape

import streamlit as st

from analysis import domain_names, queries
from app import sample, stored, workspace
from app.jobs import beside
from app.studies import demo_recording
from app.studies.summary import is_large
from app.studies.word_index import is_wanted
from app.trace import Trace, open_trace
from app.views.shared import chips, controls, demo, left_out, selecting
from app.workspace import TraceFile
from data.routing import FATAL
from data.words import counted

UNREADABLE = "This trace cannot be shown. Choose another one in the sidebar."


def trace_page(question: str, *, uses: Collection[str] = ()) -> Trace:
    """Frame a page about one trace. Stops the page where there is none to show. `uses`: the parts
    of the selection that the page shows, or its controls change."""
    said = controls.page(question)
    files, others = workspace.traces()
    if others:
        with st.sidebar:
            controls.note("Not listed: " + ", ".join(others))
    if not files:
        demo.build_demo()
        left_out.stop()
    with said:
        asked = selecting.asked_trace()
        say_missing([asked] if asked else [], [file.name for file in files])
        trace = _opened(_choice(files, asked))
        left_out.say(selecting.begin(trace, default=files[0].name, uses=uses))
        chips.draw(trace)
        _fatal_findings(trace)
        for line in trace.not_kept:
            controls.note(line)
    _facts(trace)
    if not (trace.info.num_tokens or sample.num_choices(trace)):
        st.info("This trace has no tokens. Capture some text with `routescope capture`.")
        left_out.stop()
    if demo.is_recorded(trace):
        demo.replace_recorded(trace)
    elif trace.name == workspace.DEMO:
        beside.start(trace)
    elif is_large(trace.info):
        beside.summary(trace)
    if is_wanted(trace.info, stored.domain_k(trace)):
        beside.words(trace)
    return trace


def say_missing(asked: Sequence[str], names: Collection[str], *, what: str = "trace") -> None:
    """Of what a link asks for: another one is shown in its place."""
    left_out.say(f"{what} {name}" for name in asked if name not in names)


def _choice(files: list[TraceFile], asked: str) -> TraceFile:
    by_name = {file.name: file for file in files}
    selecting.show("trace", asked if asked in by_name else files[0].name)
    with st.sidebar:
        name = st.selectbox(
            "Trace", by_name, key="trace", on_change=selecting.on_change("trace", _select)
        )
    return by_name[str(name)]


def _select(name: str) -> None:
    selecting.select(trace=name)


def _opened(file: TraceFile) -> Trace:
    try:
        return open_trace(file)
    except ValueError as error:
        controls.refused(UNREADABLE, error)
        if file.name == workspace.DEMO:
            demo.offer_again(file)
        left_out.stop()


def _fatal_findings(trace: Trace) -> None:
    with trace.cursor() as con:
        found = queries.findings(con)
    for finding in found:
        if finding.severity == FATAL:
            st.error(controls.unmarked(finding.in_words()), icon=":material/report:")


def _facts(trace: Trace) -> None:
    info, (least, most) = trace.info, trace.k_range
    shared = [layer.num_shared_experts for layer in info.layers]
    said = (
        f"{sample.num_choices(trace):,} choices, counts only"
        if info.counts_only
        else counted(info.num_tokens, "token", "tokens")
    )
    chosen = f"{_span(least, most)} chosen per token" if most else "chosen per token: unknown"
    lines = [
        f"{said}, {sample.size(trace)}",
        f"Model {info.model_name}" + (f" ({info.model_sha256[:8]})" if info.model_sha256 else ""),
        f"{info.num_layers} MoE layers with {_span(info.layer_sizes.min(), info.num_experts)} "
        "experts each",
        f"{chosen}, {_span(min(shared), max(shared))} shared",
        f"Captured {info.created_at:%Y-%m-%d %H:%M} UTC",
    ]
    if compared := demo_recording.compared(info):
        lines.append(compared)
    if (own := domain_names.number(info.domains)) > len(info.domains):
        lines.insert(1, f"{own:,} labels, {domain_names.MAX_LABELS - 1} of them shown")
    with st.sidebar:
        st.html(f'<p class="rs-facts">{"<br>".join(map(escape, lines))}</p>')


def _span(least: int, most: int) -> str:
    return f"{most}" if least == most else f"{least} to {most}"
