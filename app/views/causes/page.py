"""Does removing a specialist hurt its own domain?"""

import pandas as pd
import streamlit as st

from analysis.cause_tests import with_tests
from app import workspace
from app.studies import ablation
from app.views.causes import form, result
from app.views.causes.figures import change_lines, change_points
from app.views.shared import controls
from app.views.shared.trace_choice import trace_page

TITLES = {
    "top experts masked": "best experts masked for each token",
    "experts activated": "routed experts activated (else 6)",
}

trace = trace_page("Does removing a specialist hurt its own domain?")
found = ablation.stored(trace.path, model_sha256=trace.info.model_sha256)

if found is None:
    st.info(
        "No expert of this trace was left out yet. Start it here, or with "
        "`routescope ablate --trace`."
    )
else:
    result.show(found, trace=trace.name)
form.show(trace)

path = workspace.checkpoint() / "causes.csv"
if path.is_file():
    st.subheader("How much does the model depend on its routing?")
    table = with_tests(pd.read_csv(path), family="experiment")
    if set(table.model_sha256) != {trace.info.model_sha256}:
        st.info("The trace was made by another model than these experiments.")
    controls.answer(
        "What the DeepSeekMoE paper did, on the model of this workspace: the loss of held-out "
        "texts with its best experts masked, its shared experts replaced, fewer activated."
    )
    controls.legend([name for name in table.domain.unique() if name != "all"])
    columns = st.columns(3, gap="large")
    for column, (name, part) in zip(columns, table.groupby("experiment", sort=False), strict=True):
        label = str(name)
        figure = (
            change_lines(part, controls.palette(), title=TITLES[label])
            if label in TITLES
            else change_points(part, controls.palette())
        )
        with column:
            st.markdown(f"**{label.capitalize()}**")
            controls.chart(figure, alt=f"Change of loss: {label}", key=label.replace(" ", "_"))
    controls.download(table, name="routing_experiments", trace="model")
controls.method("cause_table", "matched_controls", "domain_changes")
