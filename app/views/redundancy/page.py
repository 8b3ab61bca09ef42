"""Could fewer experts do the same work?"""

import streamlit as st

from analysis.redundancy import SIMILARITIES
from app.studies.compression.rule import THRESHOLD
from app.views.redundancy.panels import costs, experts_left, headline, similarity
from app.views.redundancy.stored import compression_table, model_redundancy, named, pruning
from app.views.shared import controls
from app.views.shared.drawing import draw

SUBJECT = "model"

controls.page("Could fewer experts do the same work?")
similar = model_redundancy()
controls.note(f"Experts of {named()}, whichever trace is chosen.")
palette = controls.palette()
with st.container(horizontal=True, gap="medium"):
    layer_id = controls.layer(len(similar.tokens_LE), key="model_layer", bind="query-params")
    by = controls.choice("Similarity of", list(SIMILARITIES), key="similarity")
    threshold = st.slider(
        "Threshold",
        0.0,
        1.0,
        THRESHOLD,
        0.01,
        key="threshold",
        bind="query-params",
        width=210,
    )

controls.headline(headline(similar, by, threshold=threshold))
draw(similarity(similar, palette, by=by, layer_id=layer_id, threshold=threshold), subject=SUBJECT)

st.subheader("How many experts would a threshold leave?", anchor=False)
draw(experts_left(similar, palette, threshold=threshold), subject=SUBJECT)

st.subheader("What would fewer experts cost?", anchor=False)
table = compression_table()
if table.empty:
    st.info("No smaller model has been measured here. Make one, in a folder of its own:")
    st.code(pruning(similar), language="bash")
else:
    domains = sorted(table.domain.unique(), key=lambda name: name != "all")
    domain = controls.choice("Texts", domains, key="cost_domain")
    draw(costs(similar, table, palette, domain=domain), subject=SUBJECT)
controls.method(
    "output_similarity",
    "output_similarity_null",
    "weight_similarity",
    "aligned_similarity",
    "routing_similarity",
    "routing_similarity_null",
    "leaders",
    "without_least_salient",
)
