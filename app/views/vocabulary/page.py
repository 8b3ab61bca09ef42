"""Do experts follow the word or the subject?"""

import streamlit as st

from app import sidecars
from app.views.shared import controls, layer_chooser, limits, needs
from app.views.shared.drawing import draw
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable
from app.views.vocabulary.beyond_words import draw_beyond_words, draw_rest
from app.views.vocabulary.panels import (
    COMPARED,
    METHOD,
    NO_FREQUENT_IDS,
    definitions_panel,
    layer_figure,
    panels,
    token_ids_title,
)

trace = trace_page("Do experts follow the word or the subject?", uses=("layer",))
needs.token_ids(trace, "which words its experts follow")
layer_id = layer_chooser.layer_of(trace, layer_figure(trace))
drawn = panels(trace, controls.palette(), layer_id=layer_id)
shown = {panel.name: panel for panel in drawn}
draw(shown["vocabulary_by_layer"], subject=trace, key="vocabulary")
draw_rest(trace)
limits.draw_sample(trace)
draw_unusable(trace, sidecars.VOCABULARY)
if "token_id_specialization" in shown:
    draw(shown["token_id_specialization"], subject=trace)
else:
    st.markdown(f"**{token_ids_title(trace, layer_id)}**")
    controls.note(NO_FREQUENT_IDS)
draw_beyond_words(trace, shown.get("information_beyond_token"))
if st.toggle("The same terms under other definitions", key="definitions", bind="query-params"):
    draw(definitions_panel(trace, layer_id), subject=trace)
controls.method(*METHOD, compared=COMPARED)
