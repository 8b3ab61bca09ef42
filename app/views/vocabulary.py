"""Do experts follow the word or the subject?"""

import pandas as pd
import streamlit as st

from analysis.vocabulary import MIN_OCCURRENCES
from app import background, controls, progress, vocabulary_tables
from app.figures.theme import visible
from app.figures.vocabulary import information_bars, vocabulary_lines
from data.sidecar import read_sidecar

SURE = 0.05

trace, info = controls.page("Do experts follow the word or the subject?")
layer_id = controls.layer(info)
summary = vocabulary_tables.summary(trace.identity, _trace=trace)
row = summary.iloc[layer_id]


def sentence() -> str:
    if pd.isna(row.corrected):
        return f"Layer {layer_id} cannot be said to follow words: {row.reason}."
    return (
        f"In layer {layer_id} the busiest first expert of a token id takes {row.share:.0%} of its "
        f"occurrences, where the layer's load alone would give {row.expected:.0%}: "
        f"{row.corrected:.0%} of the way from chance to one expert a word. It does not say that "
        "the expert knows the word, only that the word finds it."
    )


def show_tokens() -> None:
    st.markdown(f"**Token ids that layer {layer_id} sends to one expert**")
    table = vocabulary_tables.token_table(trace.identity, layer_id, _trace=trace)
    if table.empty:
        controls.note(f"None: no token id occurs {MIN_OCCURRENCES} times in this layer.")
        return
    shown = table.assign(text=[visible(text) for text in table.text])
    controls.table(shown, name="token_id_specialization", trace=trace.name)


def show_information() -> None:
    st.markdown("**Beyond the word**")
    if len(info.domains) < 2:
        controls.note("All texts are of one domain or unlabelled: label two to ask for subjects.")
        return
    job = background.information(trace)
    if job and job.active:
        progress.show(job, key="information")
    elif job:
        progress.outcome(job, failed="This could not be computed.")
    try:
        found = read_sidecar(trace.path, "information")
    except ValueError as error:
        st.error("The stored result cannot be read. Delete it to compute it again.")
        st.code(str(error), language=None)
        return
    if found is None:
        controls.note("It appears here when it is ready, or make it with `routescope information`.")
        return
    show_bars(found[0])


def show_bars(table: pd.DataFrame) -> None:
    known = table[table.beyond.notna()]
    if known.empty:
        controls.note(f"It cannot be said: {table.reason.iloc[0]}.")
        return
    sure = known[(known.p < SURE) & (known.beyond > 0)]
    controls.answer(
        f"In {len(sure)} of {len(table)} layers the subject of a text decides something that the "
        f"token does not (p < {SURE}). It does not say what: style and topic are both the subject."
    )
    alt = "Bars: information about the domain by layer, alone and beyond the token"
    controls.show(information_bars(known, controls.palette()), alt=alt, key="information")
    controls.note(
        "Nats a choice, less what texts dealt to domains at random give; 0 where that is more. "
        f"p: the rank among 50 deals, {2 * len(known)} tests, not corrected. "
        + " ".join(
            f"Layer {r.layer_id}: {r.reason}." for r in table[table.beyond.isna()].itertuples()
        )
    )
    controls.table(table, name="information_beyond_token", trace=trace.name)


controls.answer(sentence())
figure = vocabulary_lines(summary, controls.palette(), marked=layer_id)
alt = "Lines: vocabulary specialization by layer, plain, by chance and corrected"
controls.show(figure, alt=alt, key="vocabulary")
controls.note(
    f"Frequent: {MIN_OCCURRENCES} occurrences or more. A rare id belongs to one expert by chance "
    "(an id that occurs once always does), so the plain figure is high for any router. No test: "
    "the gap to chance is the finding."
)
controls.download(summary, name="vocabulary_by_layer", trace=trace.name)
show_tokens()
show_information()
with st.expander("The same words, other definitions", icon=":material/compare_arrows:"):
    controls.note(
        f"Figures of layer {layer_id} as a paper defines them, as code released with it computes "
        "them, and as RouteScope does. An empty value has its reason."
    )
    table = vocabulary_tables.definitions(trace.identity, layer_id, _trace=trace)
    controls.table(table, name="definitions", trace=trace.name)
controls.method("vocabulary_specialization", "corrected_specialization", "conditional_information")
