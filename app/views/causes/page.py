"""Does removing a specialist hurt its own domain?"""

import pandas as pd
import streamlit as st

from analysis.cause_tests import with_verdicts
from app import sidecars, workspace
from app.studies import ablation, cause_words
from app.views.causes import form, panels
from app.views.shared import controls, domain_chooser, limits, needs, selecting
from app.views.shared.drawing import draw, draw_abreast
from app.views.shared.layer_names import names_of
from app.views.shared.selection import expert_words
from app.views.shared.trace_choice import trace_page
from data.sidecar import Reason, Sidecar

trace = trace_page("Does removing a specialist hurt its own domain?", uses=("experts", "domain"))
needs.tokens(trace, "what texts lose without an expert")
palette = controls.palette()
stored = trace.beside(sidecars.CAUSES)


def shipped_controls() -> dict[str, ablation.Tally]:
    try:
        return ablation.shipped_controls(workspace.checkpoint())
    except ValueError as error:
        controls.refused("The controls of this model cannot be read.", error)
        return {}


def draw_causes(causes: pd.DataFrame) -> None:
    controls.answer(cause_words.headline(causes))
    controls.note(cause_words.beside(causes, shipped_controls()))
    for layer_id, expert_id in selecting.current().experts:
        measured = cause_words.of_expert(causes, layer_id=layer_id, expert_id=expert_id)
        expert = expert_words((layer_id, expert_id), names_of(trace))
        controls.note(f"Expert {expert}: {measured or 'it has not been left out yet.'}")
    if domains := panels.crowded_domains(causes):
        left, right = st.columns([2, 3], gap="large")
        with left:
            draw(panels.verdicts(causes, palette), subject=trace)
        with right:
            domain = domain_chooser.domain_of("Domain", domains, width=200)
            draw(panels.of_domain(causes, palette, domain=domain), subject=trace)
    else:
        draw(panels.every_specialist(causes, palette), subject=trace)
    controls.note(panels.CAUSES_NOTE)
    draw(panels.specialists(causes), subject=trace)


if isinstance(stored, Sidecar):
    draw_causes(with_verdicts(stored.frame))
elif stored.reason is not Reason.NOT_MADE:
    limits.draw_lines([stored.line])
first = not isinstance(stored, Sidecar) and stored.reason is Reason.NOT_MADE
form.draw_form(trace, first=first)

try:
    table = ablation.experiments(workspace.checkpoint())
except ValueError as error:
    controls.refused("The experiments on this model cannot be read.", error)
    table = None
if table is not None:
    st.subheader("How much does the model depend on its routing?")
    if set(table.model_sha256) != {trace.info.model_sha256}:
        st.info("This trace was made with a different model from the one in these experiments.")
    controls.answer(panels.EXPERIMENTS_ANSWER)
    controls.legend([name for name in table.domain.unique() if name != "all"])
    draw_abreast(panels.experiments(table, palette), subject="model", columns=3)
    controls.download(table, name="routing_experiments", trace="model")
controls.method("cause_table", "matched_controls", "judging_half", "rank_p", "domain_changes")
