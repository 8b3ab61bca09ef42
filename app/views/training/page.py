"""What did training do to routing, loss and balance, so far and step by step?"""

import streamlit as st

from app.views.shared import controls
from app.views.shared.controls import unmarked
from app.views.training import overlay, panels, record, summary
from app.views.training.record import TrainingRecord
from app.workspace import trainings

MOST = 4  # laid over the first

controls.page("When did the experts settle, and was it worth it?")
found = {training.name: training for training in trainings()}
if not found:
    st.info("There is no training. `routescope train` writes one, and its log as it runs.")
    st.stop()
with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
    main = str(st.selectbox("Training", found, key="training", bind="query-params", width=230))
    over = st.multiselect(
        "Lay over",
        [name for name in found if name != main],
        key="over",
        bind="query-params",
        max_selections=MOST,
        placeholder="other trainings",
        width=360,
    )
    by = controls.choice("Along", ["tokens", "step"] if over else ["step", "tokens"], key="along")
    shown = [main, *over]
    running = any(found[name].state == "running" for name in shown)
    follow = running and st.toggle("Follow", value=True, help="Look for new lines every 5 seconds.")


@st.fragment(run_every="5s" if follow else None)
def body() -> None:
    now = found | {training.name: training for training in trainings()}
    if follow and not any(now[name].state == "running" for name in shown):
        st.rerun()  # no more polling
    read = []
    for name in shown:
        try:
            read.append(record.read(now[name]))
        except (ValueError, OSError) as error:
            controls.refused(f"{unmarked(name)} cannot be shown. Choose another one above.", error)
            if name == main:
                return
    try:
        show(read[0], read)
    except ValueError as error:
        controls.refused(f"{unmarked(main)} cannot be shown whole.", error)


def show(first: TrainingRecord, read: list[TrainingRecord]) -> None:
    if figures := summary.headline(first):
        controls.headline(figures)
    controls.answer(summary.sentence(first))
    for missing in summary.missing(first):
        st.info(missing)
    if len(read) > 1:
        overlay.show(read, by)
    panels.show(first, by)


body()
controls.method(
    *("domain_experts", "expert_domain", "domain_information", "router_saturation"),
    *("saturation_null", "max_violation"),
    compared=("router saturation", "MaxVio"),
)
