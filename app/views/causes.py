"""Does removing a specialist hurt its own domain?"""

import pandas as pd
import streamlit as st

from app import ablation, causes_job, controls, workspace
from app.figures.causes import cause_rows, change_lines, change_points

TITLES = {
    "top experts masked": "best experts masked for each token",
    "experts activated": "routed experts activated (else 6)",
}

trace, info = controls.page("Does removing a specialist hurt its own domain?")
found = ablation.stored(trace.path, model_sha256=info.model_sha256)


def sentence(table: pd.DataFrame) -> str:
    verdicts = table[table.group == "own"].verdict
    confirmed, count = int((verdicts == "confirmed").sum()), len(verdicts)
    return (
        f"Of {count} specialists left out, {confirmed} are confirmed: the loss on their own "
        "domain rises, more than on the others and more than without experts of like load. "
        "It shows what this model loses at once, not what it would lose if it were trained so."
    )


if found is None:
    st.info(
        "No expert of this trace was left out yet. Start it here, or with "
        "`routescope ablate --trace`."
    )
else:
    controls.answer(sentence(found))
    controls.show(
        cause_rows(found, controls.palette()),
        alt="Change of loss of each specialist's own domain, the others and its controls",
        key="causes_rows",
    )
    controls.note("Colour: the own domain. Bars: 95 % intervals over texts. Labels: LAYER:EXPERT.")
    controls.table(found, name="causes", trace=trace.name)
causes_job.show(trace, info)

path = workspace.checkpoint() / "causes.csv"
if path.is_file():
    st.subheader("How much does the model depend on its routing?")
    table = pd.read_csv(path)
    if set(table.model_sha256) != {info.model_sha256}:
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
            controls.show(figure, alt=f"Change of loss: {label}", key=label.replace(" ", "_"))
    controls.download(table, name="routing_experiments", trace="model")
controls.method("cause_table", "matched_controls", "domain_changes")
