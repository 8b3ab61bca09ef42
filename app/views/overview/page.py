"""What is this trace, and which domain does each expert prefer?"""

import streamlit as st

from app import evidence
from app.views.overview.layers import facts
from app.views.overview.panels import METHOD, headline, panels
from app.views.shared import controls, integrity
from app.views.shared.drawing import draw, draw_abreast
from app.views.shared.trace_choice import trace_page

trace = trace_page("Which domain does each expert prefer?")
with st.spinner(evidence.WAIT):
    controls.headline(headline(trace))
    shown = {panel.name: panel for panel in panels(trace, controls.palette())}
if "experts_per_domain" not in shown:
    evidence.draw_limits(trace)
    evidence.draw_lines(facts(trace))
    integrity.draw(integrity.findings_of(trace), trace=trace.name)
    draw(shown["domains"], subject=trace.name)
    st.stop()

draw(shown["experts_per_domain"], subject=trace.name)
evidence.draw_limits(trace)
evidence.draw_lines(facts(trace))
integrity.draw(integrity.findings_of(trace), trace=trace.name)
draw(shown["domains"], subject=trace.name)
if "specialists_by_unit" in shown:
    draw(shown["specialists_by_unit"], subject=trace.name)
st.subheader("The article's three diagnostics of a conventional MoE", anchor=False)
three = [panel for name, panel in shown.items() if name.startswith("diagnostic_")]
draw_abreast(three, subject=trace.name, columns=3, file=False)
draw(shown["diagnostics"], subject=trace.name)
with st.expander("Layer by layer", icon=":material/layers:"):
    draw(shown["experts_per_domain_by_layer"], subject=trace.name)
    draw(shown["layers"], subject=trace.name)
controls.method(*METHOD)
