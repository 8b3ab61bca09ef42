"""What is this trace, and which domain does each expert prefer?"""

import streamlit as st

from app import evidence, summary_kinds
from app.views.overview.layers import facts
from app.views.overview.panels import METHOD, experts, headline, more_panels
from app.views.shared import coming, controls, integrity, left_out, limits, needs
from app.views.shared.drawing import draw, draw_abreast
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable

trace = trace_page("Which domain does each expert prefer?")
compared = evidence.compares_domains(trace)
numbers, first = st.container(), st.container()
with first:
    coming.draw(trace)
with first, st.spinner(evidence.WAIT):
    if compared:  # the figure first: what stands above it takes longer
        draw(experts(trace, controls.palette()), subject=trace)
    else:
        st.info(needs.ONE_DOMAIN)
    draw_unusable(trace, *summary_kinds.BY_SUMMARY)
    limits.draw_limits(trace)
    limits.draw_lines(facts(trace))
    integrity.draw(integrity.findings_of(trace), trace=trace.name)
with numbers:
    controls.headline(headline(trace))
shown = {panel.name: panel for panel in more_panels(trace, controls.palette())}
draw(shown["domains"], subject=trace)
if not compared:
    left_out.stop()

if "specialists_by_unit" in shown:
    draw(shown["specialists_by_unit"], subject=trace)
st.subheader("The article's three diagnostics of a conventional MoE", anchor=False)
three = [panel for name, panel in shown.items() if name.startswith("diagnostic_")]
draw_abreast(three, subject=trace, columns=3)
draw(shown["diagnostics"], subject=trace)
with st.expander("Layer by layer", icon=":material/layers:"):
    draw(shown["experts_per_domain_by_layer"], subject=trace)
    draw(shown["layers"], subject=trace)
controls.method(*METHOD)
