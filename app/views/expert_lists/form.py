"""What a list of experts is to be: the controls of each kind."""

import streamlit as st

from analysis.lists.coverage import NEEDED
from app import workspace
from app.studies.expert_lists.subject import KEPT, WINDOW, Kind, Settings
from app.studies.exports import TOP_P
from app.trace import Trace, open_trace
from app.views.shared import controls, domain_chooser, left_out

LARGEST = 2**31 - 1
WITHIN = "its own earlier and later texts"


def settings(trace: Trace, kind: Kind) -> tuple[Settings, Trace | None]:
    """And a later trace, where two are compared."""
    match kind:
        case "prune":
            by = controls.choice("By", ["load", "weight"], key="by")
            return Settings(kind=kind, keep=_keep(trace), by=by), None
        case "merge":
            return Settings(kind=kind, keep=_keep(trace)), None
        case "quantize":
            needed = _number("Tokens needed of an expert", NEEDED, key="needed")
            return Settings(kind=kind, needed=needed), None
        case "tune":
            return _tuned(trace), None
        case "watch":
            window = _number("Tokens of a window", WINDOW, key="window", width=170)
            return Settings(kind=kind, window=window), _later(trace)


def _keep(trace: Trace) -> int:
    least, most = trace.k_range[1], int(trace.info.layer_sizes.min())
    usual = min(max(int(KEPT * most), least, 1), most)
    return _number("Experts to keep", usual, key="keep", most=trace.info.num_experts, width=160)


def _number(label: str, usual: int, *, key: str, most: int = LARGEST, width: int = 200) -> int:
    return int(st.number_input(label, 1, most, usual, key=key, bind="query-params", width=width))


def _tuned(trace: Trace) -> Settings:
    domain = domain_chooser.domain_of("Domain", trace.domains, width=170)
    score = controls.choice("ESFT's score", ["token", "gate"], key="score")
    top_p = st.number_input(
        "ESFT's p", 0.05, 1.0, TOP_P, 0.05, key="top_p", bind="query-params", width=130
    )
    return Settings(kind="tune", domain=domain, score=score, top_p=top_p)


def _later(trace: Trace) -> Trace | None:
    """Another trace of the folder."""
    files = {file.name: file for file in workspace.traces()[0] if file != trace.file}
    name = st.selectbox(
        "Compare with", [WITHIN, *files], key="later", bind="query-params", width=240
    )
    if name not in files:
        return None
    try:
        return open_trace(files[name])
    except ValueError as error:
        controls.refused("This trace cannot be compared with.", error)
        left_out.stop()
