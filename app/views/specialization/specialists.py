"""The experts that significantly prefer a domain, in words and as a table."""

from collections.abc import Collection

import numpy as np
import pandas as pd
import streamlit as st

from analysis import significance
from analysis.cause_tests import CONFIRMED, Tally
from analysis.groups import NOT_ENOUGH
from analysis.significance import MAX_Q, family_size
from analysis.specialization import MIN_LIFT
from app import workspace
from app.evidence import LIFT_COLUMNS
from app.studies import ablation, cause_words
from app.studies.estimates import COMING
from app.trace import Trace
from app.views.shared import controls, leads
from app.views.shared.drawing import draw_file
from app.views.shared.heatmap import ZOOM, sure_mark
from app.views.shared.intervals import MEASURES, RATIO, probability, reference
from app.views.shared.layer_names import NUMBERED, LayerNames, as_in_model
from app.views.shared.panel import Panel
from data.words import listed

NOT_WHY = (
    "The figure shows which experts and domains go together, not why. Whether a domain needs an "
    "expert is tested on the page Causes, by leaving the expert out. An untrained router has such "
    "experts too, because domains use different words (see Vocabulary)."
)
TITLE = "Specialists{} of all layers, ordered by the lower end of their interval"
COLUMNS = {
    "layer_id": st.column_config.NumberColumn("layer"),
    "expert_id": st.column_config.NumberColumn("expert"),
    "domain": st.column_config.TextColumn("domain"),
    "lift": st.column_config.NumberColumn("lift", format="%.2f×"),
    "low": st.column_config.NumberColumn(
        "from", format="%.2f×", help="lower end of the 95 % interval"
    ),
    "high": st.column_config.NumberColumn(
        "to", format="%.2f×", help="upper end of the 95 % interval"
    ),
    "q": st.column_config.NumberColumn("q", format="%.2g"),
    "verdict": st.column_config.TextColumn(
        "when left out",
        help="Does the loss on its domain rise by more than as many choices of other experts cost? "
        "See Causes.",
    ),
    "n_documents": st.column_config.NumberColumn("texts", format="localized"),
    "n_groups": st.column_config.NumberColumn("groups", format="localized"),
    "n_tokens": st.column_config.NumberColumn("choices", format="localized"),
}


def layer_answer(
    rows: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    layer_id: int,
    names: LayerNames = NUMBERED,
) -> str:
    """Of one layer's rows of a lift_table, and the metric_table."""
    information = _information(metrics, layer_id)
    if (rows.note == COMING).any():
        best = rows.iloc[int(rows.estimate.argmax())]
        return (
            f"In {names[layer_id]}, the highest lift is that of expert {best.expert_id} for "
            f"{best.domain} ({RATIO.text(2**best.estimate)}); which lifts are more than chance is "
            f"not computed yet.{information}"
        )
    specialists = significance.specialists(rows)
    if rows.q.isna().all() and (rows.note == NOT_ENOUGH).any():
        return (
            f"In {names[layer_id]}, there are not enough independent texts to say which experts "
            f"prefer a domain.{information}"
        )
    if specialists.empty:
        return (
            f"In {names[layer_id]}, no expert is chosen at least {MIN_LIFT:g} times as often in "
            f"any domain as expected by chance with q < {MAX_Q}.{information}"
        )
    best = specialists.iloc[0]
    span = "" if pd.isna(best.low) else f", {RATIO.span(2**best.low, 2**best.high)}"
    return (
        f"In {names[layer_id]}, {specialists.expert_id.nunique()} of {rows.expert_id.nunique()} "
        f"experts are chosen at least {MIN_LIFT:g} times as often in some domain as expected by "
        f"chance, with q < {MAX_Q}; the clearest is expert {best.expert_id} for {best.domain} "
        f"({RATIO.text(2**best.estimate)}{span}).{information}"
    )


def _information(metrics: pd.DataFrame, layer_id: int) -> str:
    row = metrics[(metrics.layer_id == layer_id) & (metrics.metric == "information_share")].iloc[0]
    measure = MEASURES["information_share"]
    if pd.isna(row.estimate):
        return ""
    beside = reference(row, measure, "shuffled labels")
    return (
        f" Knowing one chosen expert removes {measure.text(row.estimate)} of the uncertainty about "
        f"the domain{beside and f' ({beside})'}."
    )


def heatmap_note(lifts: pd.DataFrame, *, crowded: bool = False, tested: bool = True) -> str:
    """How to read the heatmap, and how many cells were tested at once."""
    mark, zoom = sure_mark(crowded=crowded), ZOOM if crowded else ""
    if not tested:
        return (
            "Orange: more often than chance, blue: less. Click a cell to open the expert's card."
            f"{zoom}"
        )
    return (
        f"Orange: more often than chance, blue: less. {mark}: q < {MAX_Q} "
        f"({family_size(lifts):,} cells tested at once, Benjamini-Hochberg). "
        f"{'Grey' if crowded else 'Hatched'}: {NOT_ENOUGH}. That a domain avoids an expert "
        "is harder to establish than that it prefers one: the texts that choose it most may be "
        f"missing. Click a cell to open the expert's card.{zoom}"
    )


def power_note(rows: pd.DataFrame) -> str:
    """What the texts of a layer's rows can show at best; empty where nothing is tested."""
    detectable = rows.smallest_detectable.dropna()
    if detectable.empty:
        return ""
    groups = rows.n_groups[rows.n_groups > 0]
    noun = "groups of texts" if (rows.n_groups < rows.n_documents).any() else "texts"
    counted = f"{_span(int(groups.min()), int(groups.max()))} {noun}"
    least, middle, most = (
        RATIO.text(2 ** float(detectable.quantile(level))) for level in (0, 0.5, 1)
    )
    undecided = int((rows.note == NOT_ENOUGH).sum())
    more = (
        f" {undecided} of {len(rows)} cells of this layer need more independent texts."
        if undecided
        else ""
    )
    return (
        f"With {counted} per domain, 80 of 100 such traces would detect a lift of {middle} in the "
        f"median cell of this layer ({least} in the easiest cell, {most} in the hardest).{more}"
    )


def _span(fewest: int, most: int) -> str:
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def replication_note(table: pd.DataFrame) -> str:
    """The two rows of replication, in words."""
    half, unseen = (row for _, row in table.iterrows())
    if pd.isna(half.estimate) or pd.isna(unseen.estimate):
        why = half.note or unseen.note
        return f"Whether the specialists reappear in other texts cannot be determined: {why}."
    span = "" if pd.isna(unseen.low) else f" ({unseen.low:.0%} to {unseen.high:.0%})"
    return (
        "Do the specialists reappear in other texts? Of the specialists found in one half of the "
        f"groups of texts, {half.estimate:.0%} are also found in the other half (by chance "
        f"{half.null:.0%}); the lifts of the two halves have a correlation of "
        f"{half.correlation:.2f} (Spearman{_shuffled_q(half)}). In groups left out, "
        f"{unseen.estimate:.0%}{span} of the specialists have their highest lift in the domain "
        f"they are named after (by chance {unseen.null:.0%}{_shuffled_q(unseen)})."
    )


def _shuffled_q(row: pd.Series) -> str:
    return "" if pd.isna(row.q) else f", q {probability(row.q)} with shuffled labels"


def causes_note(specialists: pd.DataFrame, causes: pd.DataFrame | None) -> str:
    """How many specialists with a verdict are confirmed, and how often the rule confirms without
    reason; empty where none has been left out."""
    if causes is None:
        return ""
    measured = specialists.verdict[specialists.verdict != ablation.UNTESTED]
    confirmed = int((measured == CONFIRMED).sum())
    return (
        f"Left out: {len(measured):,} of {len(specialists):,}, those that half of the texts chose "
        f"as well; {confirmed:,} confirmed. {cause_words.beside(causes, _controls())}"
    )


def _controls() -> dict[str, Tally]:
    return ablation.shipped_controls(workspace.checkpoint())


def specialists_panel(
    specialists: pd.DataFrame, *, note: str = "", domains: Collection[str] = ()
) -> Panel:
    """Rows of a lift_table with their verdict, the clearest first: by the lower end of the
    interval. `domains`: those that the rows are of alone."""
    of_domains = f" of {listed(sorted(domains))}" if domains else ""
    preview = specialists.assign(
        lift=np.exp2(specialists.estimate),
        low=np.exp2(specialists.low),
        high=np.exp2(specialists.high),
    )
    return Panel(
        name="specialists",
        table=specialists[[*LIFT_COLUMNS, "verdict"]],
        title=f"{TITLE.format(controls.unmarked(of_domains))} ({len(specialists):,})",
        preview=preview[list(COLUMNS)],
        note=note,
    )


def draw_specialists(panel: Panel | None, *, trace: Trace) -> None:
    if panel is None:
        st.markdown(f"**{TITLE.format('')}** (0)")
        controls.note(
            f"No expert has q < {MAX_Q} and a lift of at least {MIN_LIFT:g}×. The CSV of all cells "
            "lists every lift with its interval."
        )
        return
    assert panel.preview is not None
    st.markdown(f"**{panel.title}**")
    follow = leads.follower(panel.preview, name=panel.name, trace=trace)
    st.dataframe(
        as_in_model(panel.preview, trace),
        hide_index=True,
        height=min(36 * len(panel.preview) + 38, 330),
        column_config=COLUMNS,
        alt="Specialists: layer, expert, domain, lift with its interval",
        **controls.selectable_rows(panel.name, follow),
    )
    leads.hint()
    draw_file(panel.table, name=panel.name, subject=trace)
    if panel.note:
        controls.note(panel.note)
