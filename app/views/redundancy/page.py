"""Could fewer experts do the same work?"""

import streamlit as st

from analysis.redundancy import SIMILARITIES
from app.studies import compression
from app.views.redundancy import panel
from app.views.redundancy.figures import similarity_map
from app.views.shared import controls

controls.page("Could fewer experts do the same work?")
known = panel.found()
with st.container(horizontal=True, gap="large"):
    layer_id = controls.layer(len(known.tokens_LE))
    by = controls.choice("Alike by", list(SIMILARITIES), key="by")
    threshold = st.slider(
        "Threshold",
        0.0,
        1.0,
        compression.THRESHOLD,
        0.01,
        key="threshold",
        bind="query-params",
        width=280,
    )
leader_E = panel.layer_leaders(known, by, layer_id, threshold=threshold)

controls.headline(panel.headline(known, by, threshold=threshold))
controls.answer(panel.sentence(known, by, threshold=threshold))
controls.chart(
    similarity_map(
        known.similarity(by)[layer_id],
        controls.palette(),
        leader_E=leader_E,
        null=float(known.null(by)[layer_id]),
    ),
    alt=f"Heatmap: how alike every two experts of layer {layer_id} are by {by}, beside their tree",
    key="similarity",
)
controls.note(
    f"{panel.MEANT[by]} Experts in the order of their tree (average linkage). A dot: "
    f"both would run the same weights. Without colour: as alike as unrelated experts. "
    f"{known.num_tokens:,} held-out tokens."
)
st.markdown("**Every pair of the layer, the most alike first**")
controls.table(panel.pairs(known, by, layer_id, leader_E), name="expert_similarity", trace="model")

st.subheader("How many would a threshold leave?", anchor=False)
panel.show_left(known, threshold=threshold)

st.subheader("What would fewer experts cost?", anchor=False)
panel.show_costs(known)
controls.method(
    *("output_similarity", "output_similarity_null", "weight_similarity", "aligned_similarity"),
    *("routing_similarity", "routing_similarity_null", "leaders", "without_least_salient"),
)
