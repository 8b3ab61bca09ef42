"""The experts that surely prefer a domain, in words and as a table."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.significance import MAX_Q, NOT_ENOUGH, family_size, specialists
from analysis.specialization import MIN_LIFT
from app.evidence import LIFT_COLUMNS
from app.studies import ablation
from app.views.shared import controls
from app.views.shared.intervals import MEASURES, RATIO, probability, reference

NOT_SHOWN = (
    "The figure shows which experts and domains go together, not why: whether an expert is needed "
    "for its domain shows only when it is taken away, on the page Causes. A router that was never "
    "trained has such experts too, because domains use different words: see Vocabulary."
)
COLUMNS = {
    "layer_id": st.column_config.NumberColumn("layer"),
    "expert_id": st.column_config.NumberColumn("expert"),
    "domain": st.column_config.TextColumn("domain"),
    "lift": st.column_config.NumberColumn("lift", format="%.2f×"),
    "low": st.column_config.NumberColumn("from", format="%.2f×", help="lower end, 95 %"),
    "high": st.column_config.NumberColumn("to", format="%.2f×", help="upper end, 95 %"),
    "q": st.column_config.NumberColumn("q", format="%.2g"),
    "verdict": st.column_config.TextColumn(
        "without it", help="Does the loss on its domain rise when it is left out? See Causes."
    ),
    "n_documents": st.column_config.NumberColumn("texts", format="localized"),
    "n_tokens": st.column_config.NumberColumn("choices", format="localized"),
}


def sentence(rows: pd.DataFrame, metrics: pd.DataFrame, *, layer_id: int) -> str:
    """Of one layer's rows of a lift_table, and the metric_table."""
    told = _told(metrics, layer_id)
    found = specialists(rows)
    experts = rows.expert_id.nunique()
    if found.empty:
        return (
            f"In layer {layer_id}, no expert is chosen at least {MIN_LIFT:g} times as often in "
            f"some domain as by chance and more than luck explains (q < {MAX_Q}).{told}"
        )
    best = found.iloc[0]
    span = "" if pd.isna(best.low) else f", {RATIO.span(2**best.low, 2**best.high)}"
    return (
        f"In layer {layer_id}, {found.expert_id.nunique()} of {experts} experts are chosen at "
        f"least {MIN_LIFT:g} times as often in some domain as by chance, more than luck explains "
        f"(q < {MAX_Q}); the surest is expert {best.expert_id} for {best.domain} "
        f"({RATIO.text(2**best.estimate)}{span}).{told}"
    )


def _told(metrics: pd.DataFrame, layer_id: int) -> str:
    row = metrics[(metrics.layer_id == layer_id) & (metrics.metric == "information_share")].iloc[0]
    measure = MEASURES["information_share"]
    if pd.isna(row.estimate):
        return ""
    return (
        f" One choice tells {measure.text(row.estimate)} of what there is to know about the domain "
        f"({reference(row, measure, 'shuffled labels')})."
    )


def marks(lifts: pd.DataFrame) -> str:
    """How to read the heatmap, and how many cells were tested at once."""
    return (
        "Orange: more often than chance, blue: less. Dot: q < 0.05 "
        f"({family_size(lifts):,} cells tested at once, Benjamini-Hochberg). "
        f"Hatched: {NOT_ENOUGH}. Click a cell to open the expert's card."
    )


def power(rows: pd.DataFrame) -> str:
    """What the texts of a layer's rows can show at best; empty where nothing is tested."""
    known = rows.smallest_detectable.dropna()
    if known.empty:
        return ""
    texts = rows.n_documents[rows.n_documents > 0]
    counted = _texts(int(texts.min()), int(texts.max()))
    least, middle, most = (RATIO.text(2 ** float(known.quantile(level))) for level in (0, 0.5, 1))
    unsaid = int((rows.note == NOT_ENOUGH).sum())
    left_out = f" {unsaid} of {len(rows)} cells of this layer need more." if unsaid else ""
    return (
        f"With {counted} a domain, 80 of 100 such traces would find a lift of {middle} in the "
        f"median cell of this layer ({least} in the easiest, {most} in the hardest).{left_out}"
    )


def _texts(fewest: int, most: int) -> str:
    if fewest != most:
        return f"{fewest:,} to {most:,} texts"
    return "1 text" if most == 1 else f"{most:,} texts"


def left_out(causes: pd.DataFrame | None, *, layer_id: int, expert_id: int) -> str:
    """What leaving an expert out did to its own domains, in words."""
    here = pd.DataFrame() if causes is None else causes[causes.group == "own"]
    if len(here):
        here = here[(here.layer_id == layer_id) & (here.expert_id == expert_id)]
    if here.empty:
        return "Whether the model needs it was not tested: leave it out on the page Causes."
    return " ".join(_left_out(row) for row in here.itertuples())


def _left_out(row: Any) -> str:
    span = "" if pd.isna(row.low) else f" ({row.low:+.4f} to {row.high:+.4f})"
    return (
        f"Left out, the loss on {row.domain} changes by {row.estimate:+.4f} nats per token{span}: "
        f"{row.verdict}."
    )


def replicated(table: pd.DataFrame) -> str:
    """The two rows of replication, in words."""
    half, unseen = (row for _, row in table.iterrows())
    if pd.isna(half.estimate) or pd.isna(unseen.estimate):
        return f"Do they show in other texts? {half.note or unseen.note}."
    span = "" if pd.isna(unseen.low) else f" ({unseen.low:.0%} to {unseen.high:.0%})"
    return (
        f"Do they show in other texts? Of the specialists of one half of the texts, "
        f"{half.estimate:.0%} are specialists of the other half, by chance {half.null:.0%}; the "
        f"lifts of the halves correlate by {half.correlation:.2f} (Spearman"
        f"{_tested(half)}). In texts left out, "
        f"{unseen.estimate:.0%}{span} of the specialists prefer the domain they are named after, "
        f"by chance {unseen.null:.0%}{_tested(unseen)}."
    )


def _tested(row: pd.Series) -> str:
    return "" if pd.isna(row.q) else f", q {probability(row.q)} by shuffled labels"


def table(lifts: pd.DataFrame, causes: pd.DataFrame | None, *, trace: str) -> None:
    """Every specialist, the surest first: by the lower end of its interval."""
    found = ablation.with_verdicts(specialists(lifts), causes)
    st.markdown(
        f"**Specialists of every layer, by the lower end of their interval** ({len(found):,})"
    )
    if found.empty:
        controls.note(
            f"No expert has q < {MAX_Q} and a lift of at least {MIN_LIFT:g}×. The CSV of all cells "
            "has every lift with its interval."
        )
        return
    shown = found.assign(
        lift=np.exp2(found.estimate), low=np.exp2(found.low), high=np.exp2(found.high)
    )
    st.dataframe(
        shown[list(COLUMNS)],
        hide_index=True,
        height=min(36 * len(shown) + 38, 330),
        column_config=COLUMNS,
        alt="Specialists: layer, expert, domain, lift with its interval",
    )
    controls.download(found[[*LIFT_COLUMNS, "verdict"]], name="specialists", trace=trace)
