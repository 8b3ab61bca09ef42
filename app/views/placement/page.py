"""Which expert should lie on which GPU?"""

import streamlit as st

from app import evidence
from app.studies.placement_files import FORMS, map_file
from app.views.placement import elsewhere, form, made, panels, words
from app.views.shared import controls, left_out, limits, selecting
from app.views.shared.drawing import draw, draw_abreast
from app.views.shared.layer_names import names_of
from app.views.shared.selection import expert_words
from app.views.shared.trace_choice import trace_page
from data.file_names import file_name

trace = trace_page("Which expert should lie on which GPU?", uses=("experts", "domain", "phase"))
settings = form.asked(trace)
current = form.current_map(trace, settings)
with st.spinner(evidence.WAIT):
    try:
        of = made.planned(trace, settings, current)
    except ValueError as error:
        st.info(controls.unmarked(f"{str(error)[0].upper()}{str(error)[1:]}."))
        left_out.stop()
palette = controls.palette()
controls.headline(panels.headline(of))
controls.answer(words.load_answer(of))
draw_abreast(panels.load_panels(trace, of, palette), subject=trace)
with st.container(horizontal=True, gap="medium"):
    try:
        files = {name: map_file(of, trace.info, name) for name in FORMS}
    except ValueError as error:
        files = {}
        controls.note(f"No map to download: {error}.")
    for name, content in files.items():
        st.download_button(
            f"Map for {FORMS[name]}",
            content,
            file_name=file_name(trace.name, f"{name}_map") + ".json",
            mime="application/json",
            on_click="ignore",
            key=f"map_{name}",
            type="tertiary",
            icon=":material/download:",
        )
texts = made.texts_of(trace)
controls.note(words.load_note(texts))
for expert in selecting.current().experts:
    named = expert_words(expert, names_of(trace))
    controls.note(f"Expert {named} {words.place_of(of, *expert)} in this map.")
side_by_side = st.container()  # takes longest
with st.spinner(evidence.WAIT):
    table = made.holds(trace, settings, current)
    draw(elsewhere.holds_panel(table, of, palette), subject=trace)
    try:
        today = form.later_trace(trace)
        drift = made.drift(trace, settings, current, today)
        draw(elsewhere.drift_panel(drift, of, palette, by_time=today is None), subject=trace)
    except ValueError as error:
        st.info(controls.unmarked(f"No drift to show: {error}."))
draw_abreast(panels.traffic_panels(of, palette), subject=trace)
controls.note(words.traffic_note(texts, of))
draw_abreast(panels.layer_panels(trace, of, palette), subject=trace)
limits.draw_sample(trace)
controls.method(*panels.METHOD)
with side_by_side, st.spinner(evidence.WAIT):
    policies = made.by_every_policy(trace, settings, current)
    draw(panels.policy_panel(policies, palette), subject=trace)
