"""What is compared on the page: traces, or parts of one."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import streamlit as st

from analysis import queries
from app import parts, prompt_runs, workspace
from app.studies.summary import is_large
from app.trace import BY_IDENTITY, Trace, open_trace
from app.views.shared import controls, left_out
from app.views.shared.trace_choice import UNREADABLE, say_missing

MOST = 4
LOOKED_AT = 8  # traces, to find one that is alike
TRACES, RUNS = "other traces", "my runs"
OF_RUNS = "runs"  # in a link: their ids


def sides_of(trace: Trace) -> list[Trace]:
    """Two to four, the first of which the others are compared with. Stops the page where there is
    nothing to compare."""
    files = {file.name: file for file in workspace.traces()[0] if file.path != trace.path}
    kinds = {TRACES: list(files)} if files else {}
    runs = _runs()
    kinds |= _parts(trace)
    kinds |= {RUNS: list(runs)} if runs else {}
    if not kinds:
        st.info(
            "There is one trace, of one phase, one domain and one group of texts: nothing to "
            "compare it with. Capture another with `routescope capture`."
        )
        left_out.stop()
    if not runs:
        say_missing(st.query_params.get_all(OF_RUNS), [], what="run")
        st.query_params.pop(OF_RUNS, None)
    default, same = _alike(trace, files) if files else ("", False)
    named = same or "traces" in st.query_params or "traces" in st.session_state
    usual = TRACES if named else next((one for one in kinds if one != TRACES), TRACES)
    kind = controls.choice("Compare with", list(kinds), key="with", default=usual)
    if kind == TRACES:
        chosen = _chosen("Traces", kinds[kind], most=MOST - 1, default=[default])
        return [trace, *_opened([files[name] for name in chosen])]
    if kind == RUNS:
        return [trace, *_opened(_chosen_runs(runs))]
    names = kinds[kind]
    if kind == "domains":
        names = _chosen("Domains", names, most=MOST, default=names[:2])
    if len(names) < 2:
        st.info("Choose two or more.")
        left_out.stop()
    return _opened([replace(trace.file, part=name) for name in names])


def _runs() -> dict[str, workspace.TraceFile]:
    """Those of the page Prompts, by id; no two of one title."""
    found, times = {}, Counter[str]()
    for run in prompt_runs.listed()[0]:
        with suppress(OSError):  # deleted meanwhile
            file = workspace.run_file(run)
            times[file.name] += 1
            number = f" ({times[file.name]})" if times[file.name] > 1 else ""
            found[run.id] = replace(file, title=f"{file.name}{number}")
    return found


def _chosen_runs(runs: dict[str, workspace.TraceFile]) -> list[workspace.TraceFile]:
    asked = st.query_params.get_all(OF_RUNS)
    say_missing(asked, runs, what="run")
    there = [name for name in dict.fromkeys(asked) if name in runs][: MOST - 1]
    st.session_state["chosen_runs"] = there or list(runs)[:1]
    chosen = st.multiselect(
        "My runs",
        list(runs),
        max_selections=MOST - 1,
        key="chosen_runs",
        format_func=lambda name: runs[name].name.removeprefix("run "),
        on_change=_link_runs,
    )
    if not chosen:
        st.info(f"Choose up to {MOST - 1} of them.")
        left_out.stop()
    return [runs[name] for name in chosen]


def _link_runs() -> None:
    st.query_params[OF_RUNS] = st.session_state["chosen_runs"]


def _alike(trace: Trace, files: dict[str, workspace.TraceFile]) -> tuple[str, bool]:
    """Of the first few traces one of a model of the same shape, and of these the one with most
    texts in common; and whether it is of the same shape."""
    shape, names = trace.info.layer_sizes.tolist(), list(files)
    found = []
    for name in names[:LOOKED_AT]:
        with suppress(ValueError):  # it cannot be read, which its own page says
            other = open_trace(files[name])
            same = other.info.layer_sizes.tolist() == shape
            found.append((same, len(_texts(trace) & _texts(other)), name))
    same, _, name = max(found, key=lambda of: of[:2], default=(False, 0, names[0]))
    return name, same


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def _texts(trace: Trace) -> set[str]:
    """By which they are recognized; of a large trace that takes too long for a guess."""
    if is_large(trace.info):
        return set()
    with trace.cursor() as con:
        return set(queries.document_keys(con).whole.dropna())


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def _parts(trace: Trace) -> dict[str, list[str]]:
    with trace.cursor() as con:
        return parts.parts_of(con)


def _chosen(label: str, names: list[str], *, most: int, default: list[str]) -> list[str]:
    chosen = st.multiselect(
        label,
        names,
        default=default,
        max_selections=most,
        key=label.lower(),
        bind="query-params",
        width=420,
        format_func=lambda name: name.removeprefix("domain:"),
    )
    if not chosen:
        st.info(f"Choose up to {most} of them.")
        left_out.stop()
    return chosen


def _opened(files: list[workspace.TraceFile]) -> list[Trace]:
    try:
        return [open_trace(file) for file in files]
    except ValueError as error:
        controls.refused(UNREADABLE, error)
        left_out.stop()


def second_of(sides: list[Trace]) -> Trace:
    """Whose difference from the first is shown."""
    others = {other.name: other for other in sides[1:]}
    if len(others) == 1:
        return sides[1]
    name = st.selectbox("Difference from the first", others, key="other", bind="query-params")
    return others[str(name)]
