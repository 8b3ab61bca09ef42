"""What did training do to routing, loss and balance, so far and step by step?"""

import streamlit as st

from app.views.shared import controls, left_out
from app.views.shared.controls import unmarked
from app.views.training import record
from app.views.training.layout import draw_trainings
from app.workspace import trainings

MOST = 4  # laid over the first

controls.page("When did the experts settle, and was it worth it?")
listed = {training.name: training for training in trainings()}
if not listed:
    st.info("There is no training yet. `routescope train` makes one and writes its log as it runs.")
    left_out.stop()
with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
    main = str(st.selectbox("Training", listed, key="training", bind="query-params", width=230))
    side = st.container(width="content")
    switch = st.container(width="content")
over = st.multiselect(
    "Compare with",
    [name for name in listed if name != main],
    key="over",
    bind="query-params",
    max_selections=MOST,
    placeholder="other trainings",
)
with side:
    by = controls.choice(
        "Horizontal axis", ["tokens", "step"] if over else ["step", "tokens"], key="along"
    )
shown = [main, *over]
running = any(listed[name].state == "running" for name in shown)
with switch:
    follow = running and st.toggle(
        "Follow", value=True, help="Check for new lines every 5 seconds."
    )


@st.fragment(run_every="5s" if follow else None)
def body() -> None:
    now = listed | {training.name: training for training in trainings()}
    if follow and not any(now[name].state == "running" for name in shown):
        st.rerun()  # no more polling
    records = []
    for name in shown:
        try:
            records.append(record.read(now[name]))
        except (ValueError, OSError) as error:
            controls.refused(f"{unmarked(name)} cannot be shown. Choose another one above.", error)
            if name == main:
                return
    try:
        draw_trainings(records, by=by)
    except ValueError as error:
        controls.refused(f"{unmarked(main)} cannot be shown completely.", error)


body()
controls.method(
    "domain_experts",
    "expert_domain",
    "domain_information",
    "router_saturation",
    "saturation_null",
    "max_violation",
    compared=("router saturation", "MaxVio"),
)
