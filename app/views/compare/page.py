"""What changed from one trace to another?"""

import streamlit as st

from app.views.compare import flips_panels, looks, panels
from app.views.compare.sides import second_of, sides_of
from app.views.shared import controls
from app.views.shared.trace_choice import trace_page

LOOKS = {
    "loads": looks.loads,
    "preferences": looks.lifts,
    "layers": looks.layers,
    "loss and gate": looks.per_token,
    "tokens": looks.tokens,
    "every figure": looks.every_figure,
}

trace = trace_page("What changed from one trace to another?", uses=("layer",))
with st.container(horizontal=True, gap="large"):
    sides = sides_of(trace)
    second = second_of(sides)
look = controls.choice("Look at", list(LOOKS), key="look")
with st.spinner("Comparing the texts of both…"):
    shown = looks.compared(sides[0], second)
    if numbers := panels.headline(shown.found):
        controls.headline(numbers)
    LOOKS[look](shown, sides)
controls.note(f"First: {sides[0].name}. Second: {second.name}. {shown.found.in_words()}")
for line in shown.notes:
    controls.note(line)
controls.method(*panels.METHOD, *flips_panels.METHOD)
