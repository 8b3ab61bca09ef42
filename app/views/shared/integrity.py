"""The integrity report of a trace: what was noticed while it was written."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis import queries
from app.trace import Trace
from app.views.shared import controls
from data.routing import FATAL, NOTE, SEVERITIES, WARNING, Finding

NOTHING = "Nothing was noticed while this trace was written."
NAMES = {FATAL: "fatal", WARNING: "warnings", NOTE: "notes"}
ICONS = {FATAL: ":material/report:", WARNING: ":material/warning:", NOTE: ":material/verified:"}


def findings_of(trace: Trace) -> list[Finding]:
    with trace.cursor() as con:
        return queries.findings(con)


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Those first that matter most."""
    return sorted(findings, key=lambda found: SEVERITIES.index(found.severity))


def table(findings: Sequence[Finding]) -> pd.DataFrame:
    """severity, kind, occurrences, unit, first_example, effect, done."""
    columns = ("severity", "kind", "occurrences", "unit", "first_example", "effect", "done")
    rows = [{name: getattr(found, name) for name in columns} for found in by_severity(findings)]
    return pd.DataFrame(rows, columns=list(columns))


def summary(findings: Sequence[Finding]) -> str:
    """How many of each severity; what is not there is not named."""
    counts = {of: sum(found.severity == of for found in findings) for of in SEVERITIES}
    said = [f"{NAMES[of]}: {count}" for of, count in counts.items() if count]
    return ", ".join(said) or "nothing noticed"


def draw(findings: Sequence[Finding], *, trace: str) -> None:
    """Folded where nothing is worse than a note."""
    worst = min((SEVERITIES.index(found.severity) for found in findings), default=len(SEVERITIES))
    icon = ICONS[SEVERITIES[min(worst, len(SEVERITIES) - 1)]]
    label = f"Integrity report: {summary(findings)}"
    with st.expander(label, icon=icon, expanded=worst < SEVERITIES.index(NOTE)):
        if not findings:
            controls.note(NOTHING)
            return
        items = [
            f"{found.severity}: {found.effect}. {found.counted()}; first, {found.first_example}."
            + (f" {found.done[0].upper()}{found.done[1:]}." if found.done else "")
            for found in by_severity(findings)
        ]
        for item in items:
            controls.note(item)
        controls.download(table(findings), name="findings", trace=trace)
