"""Does removing a specialist hurt its own domain?"""

import pandas as pd
import streamlit as st

from analysis.causes import CONFIRMED
from app import ablation, causes_job, controls, workspace
from app.figures.causes import cause_rows, change_lines, change_points, verdict_bars

ROWS = 8  # in one figure

TITLES = {
    "top experts masked": "best experts masked for each token",
    "experts activated": "routed experts activated (else 6)",
}

trace, info = controls.page("Does removing a specialist hurt its own domain?")
found = ablation.stored(trace.path, model_sha256=info.model_sha256)


def sentence(table: pd.DataFrame) -> str:
    verdicts = table[table.group == "own"].verdict
    count, confirmed = len(verdicts), int((verdicts == CONFIRMED).sum())
    if count == 1:
        told = f"The specialist left out is {'' if confirmed else 'not '}confirmed"
    else:
        told = f"Of {count:,} specialists left out, {confirmed:,} {_are(confirmed)} confirmed"
    return (
        f"{told}: confirmed means that the loss on the own domain rises, more than on the others "
        "and more than without experts of like load."
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def strongest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ROWS specialists that surest differ from their controls."""
    names = ["layer_id", "expert_id", "domain"]
    surest = table[table.group == "own - controls"].sort_values("low", ascending=False)
    return surest[names].head(ROWS).merge(table, on=names)


def show(table: pd.DataFrame) -> None:
    controls.answer(sentence(table))
    own, shown = table[table.group == "own"], table
    if len(own) > ROWS:
        left, right = st.columns([2, 3], gap="large")
        with left:
            st.markdown("**Specialists of each domain**")
            bars = verdict_bars(table, controls.palette())
            controls.show(bars, alt="Specialists by domain and verdict", key="causes_verdicts")
            controls.note(
                "Coloured: confirmed. Of experts that do not matter, intervals of 95 % confirm at "
                f"most 1 in 40 by chance: {len(own) / 40:.0f} of {len(own):,}."
            )
        with right:
            domain = controls.choice("Domain", list(own.domain.unique()), key="cause_domain")
            shown = strongest(table[table.domain == domain])
            count = int((own.domain == domain).sum())
            rows(shown)
            controls.note(
                f"Shown: {len(shown) // 5} of {count}, those that surest differ from their "
                "controls. The table has all."
            )
    else:
        rows(shown)
    controls.note(
        "Colour: the own domain. Bars: 95 % intervals over texts. Labels: LAYER:EXPERT. It shows "
        "what this model loses at once, not what it would lose if it were trained so."
    )
    controls.table(table, name="causes", trace=trace.name)


def rows(table: pd.DataFrame) -> None:
    controls.show(
        cause_rows(table, controls.palette()),
        alt="Change of loss of each specialist's own domain, the others and its controls",
        key="causes_rows",
    )


if found is None:
    st.info(
        "No expert of this trace was left out yet. Start it here, or with "
        "`routescope ablate --trace`."
    )
else:
    show(found)
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
