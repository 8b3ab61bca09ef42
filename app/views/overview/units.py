"""How many specialists there are if each text, group, sublabel or source is one observation."""

import pandas as pd
import streamlit as st

from analysis.groups import MIN_EFFECTIVE
from app import stored
from app.stored import COMPUTED, ESTIMATED
from app.studies import statistics
from app.studies.statistics import GROUP
from app.studies.summary import is_corpus
from app.summary_kinds import UNITS
from app.trace import BY_IDENTITY, Trace
from app.views.shared.panel import Panel

HEADINGS = {"n_units": "number", "too_few": "too few in"}


def known(trace: Trace) -> bool:
    """The texts are of a corpus, and each says of which source and sublabel."""
    return is_corpus(trace.info)


def panels(trace: Trace) -> list[Panel]:
    """Empty where sources are not known, and while it is still being computed."""
    table = by_unit(trace) if known(trace) else None
    if table is None:
        return []
    return [
        Panel(
            name="specialists_by_unit",
            table=table,
            title="Specialists by unit of evidence",
            answer=_answer(table),
            note=(
                "A group is a work, a package, an author or a task; a sublabel is a part of a "
                "source, such as one of its languages. Too few: a domain with fewer than "
                f"{MIN_EFFECTIVE} units of equal length is not tested and has no specialists."
            ),
            preview=table.replace({"unit": {GROUP: f"{GROUP} (everywhere else)"}}).rename(
                columns=HEADINGS
            ),
        )
    ]


def _answer(table: pd.DataFrame) -> str:
    counts = table.set_index("unit").specialists
    others = [f"{counts[unit]:,} with the {unit}" for unit in counts.index.drop(GROUP)]
    return (
        f"With the group as the unit of evidence there are {counts[GROUP]:,} specialists; there "
        f"would be {', '.join(others[:-1])} and {others[-1]}. Only the count by group is used "
        "elsewhere."
    )


def by_unit(trace: Trace) -> pd.DataFrame | None:
    """The by_unit() of statistics; None while it is still being computed."""
    source = stored.source(trace, UNITS)
    return None if source == ESTIMATED else _by_unit(trace, source)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _by_unit(trace: Trace, source: str) -> pd.DataFrame:
    if source != COMPUTED:
        return stored.frame(trace, UNITS)
    with trace.cursor() as con:
        return statistics.by_unit(con, trace.info)
