"""Which experts to keep, to tune, to watch?"""

import shlex

import streamlit as st

from app import workspace
from app.studies.expert_lists.output import json_bytes
from app.studies.expert_lists.subject import KINDS, Kind
from app.views.expert_lists import form
from app.views.expert_lists.made import made
from app.views.expert_lists.panels import METHOD, panels
from app.views.shared import controls, limits
from app.views.shared.drawing import draw
from app.views.shared.trace_choice import trace_page
from data.file_names import file_name

ADVICE = {
    "prune": "What dropping them costs in bits per byte is measured with the model of the trace:",
    "merge": "What merging them costs in bits per byte is measured with the model of the trace:",
}
FORMS = {
    "llmcompressor": "llmcompressor: experts to keep",
    "pairs": "pairs of experts",
    "groups": "groups for a quantizer",
    "esft": "ESFT: expert config",
    "peft": "PEFT: target_modules",
    "alarms": "alarms for a monitor",
}

trace = trace_page("Which experts to keep, to tune, to watch?", uses=("domain",))
with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
    chosen = controls.choice("Experts to", list(KINDS), key="list")
    kind: Kind = next(one for one in KINDS if one == chosen)
    settings, later = form.settings(trace, kind)
found = made(trace, settings, later)
first, *others = panels(trace, controls.palette(), found)
draw(first, subject=trace)
with st.container(horizontal=True, gap="medium"):
    for name in found.files:
        st.download_button(
            FORMS[name],
            json_bytes(found, name),
            file_name=file_name(trace.name, f"{kind}_{name}") + ".json",
            mime="application/json",
            on_click="ignore",
            key=f"file_{name}",
            type="tertiary",
            icon=":material/download:",
        )
if found.unwritten:
    tools = "PEFT" if found.files else "other tools"
    controls.note(f"There is no file for {tools}: {found.unwritten}.")
for panel in others:
    draw(panel, subject=trace)
limits.draw_limits(trace)
if kind in ADVICE:
    model = shlex.quote(str(workspace.checkpoint()))
    command = f"routescope experts {shlex.quote(str(trace.path))} --list {kind}"
    by = " --by weight" if settings.by == "weight" else ""
    controls.note(ADVICE[kind])
    st.code(f"{command} --keep {settings.keep}{by} --model {model}", language="bash")
controls.method(*METHOD[kind])
