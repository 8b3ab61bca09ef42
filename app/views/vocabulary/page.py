"""Do experts follow the word or the subject?"""

import pandas as pd
import streamlit as st

from analysis.vocabulary import MIN_OCCURRENCES
from app.views.shared import controls
from app.views.shared.theme import visible
from app.views.shared.trace_choice import trace_page
from app.views.vocabulary import beyond_words, tables
from app.views.vocabulary.figures import vocabulary_lines

trace = trace_page("Do experts follow the word or the subject?")
layer_id = controls.layer(trace.info.num_layers)
summary = tables.summary(trace)
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
    table = tables.token_table(trace, layer_id)
    if table.empty:
        controls.note(f"None: no token id occurs {MIN_OCCURRENCES} times in this layer.")
        return
    shown = table.assign(text=[visible(text) for text in table.text])
    controls.table(shown, name="token_id_specialization", trace=trace.name)


controls.answer(sentence())
figure = vocabulary_lines(summary, controls.palette(), marked=layer_id)
alt = "Lines: vocabulary specialization by layer, plain, by chance and corrected"
controls.chart(figure, alt=alt, key="vocabulary")
controls.note(
    f"Frequent: {MIN_OCCURRENCES} occurrences or more. A rare id belongs to one expert by chance "
    "(an id that occurs once always does), so the plain figure is high for any router. Line up and "
    "down: 95 % of other samples of as many texts. p: the rank among 50 deals of the words of each "
    "text."
)
controls.download(summary, name="vocabulary_by_layer", trace=trace.name)
show_tokens()
beyond_words.show(trace)
if st.toggle("The same words, other definitions", key="definitions"):
    controls.note(
        f"Figures of layer {layer_id} as a paper defines them, as code released with it computes "
        "them, and as RouteScope does. An empty value has its reason."
    )
    table = tables.definitions(trace, layer_id)
    controls.table(table, name="definitions", trace=trace.name)
controls.method(
    *("vocabulary_specialization", "mean_vocabulary_share", "corrected_specialization"),
    "conditional_information",
    compared=("vocabulary specialization",),
)
