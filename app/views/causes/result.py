"""What came of leaving experts out: in words, counted by domain, and one by one."""

import pandas as pd
import streamlit as st

from analysis.cause_tests import surely_confirmed
from analysis.causes import CONFIRMED
from app.views.causes.figures import cause_rows, verdict_bars
from app.views.shared import controls

ROWS = 8  # in one figure


def sentence(table: pd.DataFrame) -> str:
    verdicts = table[table.group == "own"].verdict
    count, confirmed = len(verdicts), int((verdicts == CONFIRMED).sum())
    if count == 1:
        told = f"The specialist left out is {'' if confirmed else 'not '}confirmed"
    else:
        told = f"Of {count:,} specialists left out, {confirmed:,} {_are(confirmed)} confirmed"
    return (
        f"{told}: confirmed means that the loss on the own domain rises, more than on the others "
        "and more than without experts of like load."
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def strongest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ROWS specialists that surest differ from their controls."""
    names = ["layer_id", "expert_id", "domain"]
    surest = table[table.group == "own - controls"].sort_values("low", ascending=False)
    return surest[names].head(ROWS).merge(table, on=names)


def show(table: pd.DataFrame, *, trace: str) -> None:
    controls.answer(sentence(table))
    own, shown = table[table.group == "own"], table
    if len(own) > ROWS:
        left, right = st.columns([2, 3], gap="large")
        with left:
            st.markdown("**Specialists of each domain**")
            bars = verdict_bars(table, controls.palette())
            controls.chart(bars, alt="Specialists by domain and verdict", key="causes_verdicts")
            controls.note(
                "Coloured: confirmed. Of experts that do not matter, intervals of 95 % confirm at "
                f"most 1 in 40 by chance: {len(own) / 40:.0f} of {len(own):,}. With q < 0.05 over "
                f"all {len(own):,} in each of the three: {surely_confirmed(table):,} confirmed."
            )
        with right:
            domain = controls.choice("Domain", list(own.domain.unique()), key="cause_domain")
            shown = strongest(table[table.domain == domain])
            count = int((own.domain == domain).sum())
            rows(shown)
            controls.note(
                f"Shown: {len(shown) // 5} of {count}, those that surest differ from their "
                "controls. The table has all."
            )
    else:
        rows(shown)
    controls.note(
        "Colour: the own domain. Bars: 95 % intervals over texts. Labels: LAYER:EXPERT. It shows "
        "what this model loses at once, not what it would lose if it were trained so."
    )
    controls.table(table, name="causes", trace=trace)


def rows(table: pd.DataFrame) -> None:
    controls.chart(
        cause_rows(table, controls.palette()),
        alt="Change of loss of each specialist's own domain, the others and its controls",
        key="causes_rows",
    )
