"""Everything about one expert: how busy, for which domains, on which tokens."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from analysis import expert_words, specialization
from analysis.arrays import MAX_TOKENS
from analysis.groups import NOT_ENOUGH
from app import evidence, stored
from app.studies import cause_words
from app.trace import BY_IDENTITY, Trace
from app.views.shared import contexts as context_lines
from app.views.shared import controls, leads, needs, reveal
from app.views.shared.drawing import draw
from app.views.shared.intervals import MEASURES, RATIO, probability
from app.views.shared.layer_names import names_of
from app.views.shared.leads import Lead
from app.views.shared.panel import Panel, of_domains
from app.views.shared.sampled import sampled
from app.views.shared.theme import visible
from app.views.specialization.figures import lift_bars
from app.views.specialization.panels import layer_lifts

TOKENS, CONTEXTS = 40, 8
UNTESTED = (
    "Whether the model needs this expert has not been tested; the page Causes can leave it out."
)
WAYS = {  # what else there is of an expert: the page, and its icon
    "Texts": ("prompts", "edit_note"),
    "Pairs": ("coactivation", "hub"),
    "Causes": ("causes", "content_cut"),
    "Place": ("placement", "dns"),
}


def draw_card(trace: Trace, *, layer_id: int, expert_id: int) -> None:
    st.subheader(f"Expert {expert_id} of {names_of(trace)[layer_id]}", anchor=leads.CARD)
    reveal.draw(leads.CARD)
    num_experts = trace.info.layers[layer_id].num_experts
    tokens_E = stored.expert_tokens(trace)[layer_id, :num_experts]
    if not tokens_E[expert_id]:
        absence = evidence.absence(trace).of_expert(layer_id, expert_id)
        st.info(f"This expert is {absence}." if absence else "No token was routed in this layer.")
        return
    rows = layer_lifts(trace, layer_id)
    own = rows[rows.expert_id == expert_id].reset_index(drop=True)
    compared = own.estimate.notna().any()
    name = f"layer_{names_of(trace).number(layer_id)}_expert_{expert_id}"
    figures = [_load(trace, layer_id, expert_id), _choices(tokens_E, expert_id)]
    controls.headline(figures + (_preference(trace, rows, own) if compared else []))
    _draw_ways(layer_id, expert_id)
    if compared:
        causes = stored.causes(trace)
        measured = cause_words.of_expert(causes, layer_id=layer_id, expert_id=expert_id)
        controls.note(measured or UNTESTED)
    if trace.info.counts_only:
        controls.note(f"{needs.COUNTS_ONLY}: which tokens choose this expert is not known.")
        _draw_lifts(own, name=name, trace=trace)
        return
    left, middle, right = st.columns([4.2, 4.4, 5.4], gap="medium")
    with left:
        _draw_lifts(own, name=name, trace=trace)
    tokens, contexts, counts = _words(trace, layer_id, expert_id)
    with middle:
        _draw_tokens(tokens, name=f"{name}_tokens", trace=trace)
    with right:
        _draw_contexts(contexts, name=f"{name}_contexts", trace=trace)
    if read := sampled(trace.info, counts).strip():
        controls.note(f"Tokens and contexts. {read}")


def _draw_ways(layer_id: int, expert_id: int) -> None:
    """To the pages that say more of this expert."""
    expert = {"layers": (layer_id,), "experts": ((layer_id, expert_id),)}
    with st.container(horizontal=True, gap="small"):
        for label, (page, icon) in WAYS.items():
            changes = expert | ({"texts": (), "tokens": ()} if page == "prompts" else {})
            st.button(
                label,
                key=f"way_{page}",
                icon=f":material/{icon}:",
                on_click=leads.to,
                args=(Lead(page, changes),),
            )


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def _words(
    trace: Trace, layer_id: int, expert_id: int
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Tokens and contexts of an expert, and of how many texts and tokens they are."""
    expert: dict[str, int] = {"layer_id": layer_id, "expert_id": expert_id, "tokens": MAX_TOKENS}
    with trace.cursor() as con:
        tokens = expert_words.expert_top_tokens(con, **expert, limit=TOKENS)
        contexts = expert_words.expert_contexts(con, **expert, limit=CONTEXTS)
        read = expert_words.document_sample(con, tokens=MAX_TOKENS)
    return tokens, contexts, {"n_documents": len(read), "n_tokens": int(read.tokens.sum())}


def _load(trace: Trace, layer_id: int, expert_id: int) -> tuple[str, str, str]:
    """Over the balanced load, and what to compare it with."""
    loads = evidence.expert_loads(trace)
    row = loads[(loads.layer_id == layer_id) & (loads.expert_id == expert_id)].iloc[0]
    span = "" if pd.isna(row.low) else f"{RATIO.span(2**row.low, 2**row.high)}, "
    test = "" if pd.isna(row.q) else f", q {probability(row.q)}"
    return "Load", RATIO.text(2**row.estimate), f"{span}balanced 1×{test}"


def _choices(tokens_E: np.ndarray, expert_id: int) -> tuple[str, str, str]:
    return "Choices", f"{tokens_E[expert_id]:,.0f}", f"balanced {tokens_E.mean():,.0f}"


def _preference(trace: Trace, rows: pd.DataFrame, own: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Headline of the domain of highest lift, and of the divergence from all texts."""
    best = own.iloc[int(own.estimate.argmax())]
    lift = RATIO.text(2**best.estimate)
    if not pd.isna(best.low):
        lift += f" ({RATIO.span(2**best.low, 2**best.high)})"
    label, unsure = "Strongest domain", f"; {best.note}" if best.note == NOT_ENOUGH else ""
    if not pd.isna(best.q):
        label += f", q {probability(best.q)}"
    tokens_EG = rows.n_tokens.to_numpy().reshape(-1, len(own))
    divergence = specialization.jensen_shannon(tokens_EG[None])[0, best.expert_id]
    measure, metrics = MEASURES["mean_divergence"], evidence.metrics(trace)
    chance = metrics[(metrics.layer_id == best.layer_id) & (metrics.metric == "mean_divergence")]
    null = chance.null.iloc[0]
    shuffled = "" if pd.isna(null) else f"shuffled labels {measure.text(float(null))}, "
    return [
        (label, controls.unmarked(best.domain), f"{lift}, by chance 1×{unsure}"),
        ("Divergence from all texts", measure.text(float(divergence)), f"{shuffled}at most 1"),
    ]


def _draw_lifts(own: pd.DataFrame, *, name: str, trace: Trace) -> None:
    st.markdown("**Domains it is chosen for**")
    if own.estimate.isna().all():
        controls.note("There is only one domain, so there is nothing to compare.")
        return
    panel = Panel(
        name=f"{name}_domains",
        table=own[[*evidence.LIFT_COLUMNS]],
        figure=lift_bars(own, controls.palette()),
        alt="Bars: lift of each domain for this expert",
        names=partial(of_domains, list(own.domain)),
    )
    draw(panel, subject=trace, key="expert_lift")


def _draw_tokens(tokens: pd.DataFrame, *, name: str, trace: Trace) -> None:
    st.markdown("**Tokens that choose it**")
    shown = tokens.assign(text=[visible(text) for text in tokens.text])
    st.dataframe(
        shown[["text", "tokens", "share_of_token"]],
        hide_index=True,
        height=300,
        column_config={
            "text": st.column_config.TextColumn("token", width=66),
            "tokens": st.column_config.NumberColumn("choices", format="localized", width=68),
            "share_of_token": st.column_config.NumberColumn(
                "of uses", format="percent", width=72, help="Of all times that the token occurs"
            ),
        },
        alt="Tokens that chose this expert more often than its load explains",
        **controls.selectable_rows(name, leads.follower(tokens, name=name, trace=trace)),
    )
    controls.download(tokens, name=name, trace=trace.name)


def _draw_contexts(contexts: pd.DataFrame, *, name: str, trace: Trace) -> None:
    weighed = contexts.weight.notna().all()
    which = "it has the largest weight" if weighed else "it is chosen"
    st.markdown(f"**Contexts in which {which}**")
    weights = ["" if np.isnan(weight) else f"{weight:.2f}" for weight in contexts.weight]
    context_lines.draw(contexts, trace, labels=weights, key="expert_contexts")
    controls.download(contexts, name=name, trace=trace.name)
