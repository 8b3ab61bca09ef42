"""Does DeepSeekMoE beat what came before it?"""

import streamlit as st

from app.views.comparison import families, family_panels, paper
from app.views.comparison.opening import draw_opening
from app.views.comparison.panels import (
    differences,
    headline,
    questions,
    redundancy,
    redundancy_answer,
)
from app.views.shared import controls, left_out
from app.views.shared.drawing import draw, draw_abreast
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

SUBJECT = "comparison"


@st.cache_data(show_spinner=False, max_entries=4)
def families_shown(_others: families.Families, palette: Palette) -> list[Panel]:
    """The shipped tables never change, and the grid takes a second to draw."""
    return family_panels.panels(_others, palette)


controls.page("Does DeepSeekMoE beat what came before it?")
try:
    comparison = paper.load()
except ValueError as error:
    st.info(str(error))
    left_out.stop()
names = [name for name in comparison.differences.domain.unique() if name != "all"]
domain = controls.choice("Texts", ["all", *names], key="loss_domain")

controls.headline(headline(comparison, domain=domain))
draw(differences(comparison, controls.palette(), domain=domain), subject=SUBJECT)
controls.download(comparison.bits, name="bits_per_byte_by_domain", trace=SUBJECT)

st.subheader("The paper's questions", anchor=False)
draw(questions(comparison), subject=SUBJECT)

st.subheader("How redundant are the experts?", anchor=False)
controls.answer(redundancy_answer(comparison))
draw_abreast(redundancy(comparison, controls.palette()), subject=SUBJECT)
controls.download(comparison.interventions, name="interventions", trace=SUBJECT)

st.subheader("How do experts of other families specialize?", anchor=False)
try:
    others = families.load()
except ValueError as error:
    st.info(str(error))
else:
    models, specialization = families_shown(others, controls.palette())
    draw(models, subject=SUBJECT)
    controls.legend(families.labels(others))
    draw(specialization, subject=SUBJECT)
    with st.container(horizontal=True):
        controls.download(others.domains, name="experts_per_domain_by_family", trace=SUBJECT)
        controls.download(others.lifts, name="highest_lift_by_expert", trace=SUBJECT)
    draw_opening()

with st.expander(f"Every claim of the article “{paper.ARTICLE}”", icon=":material/fact_check:"):
    st.markdown(paper.claims())
with st.expander("Trainings", icon=":material/show_chart:"):
    controls.table(comparison.runs, name="trainings", trace=SUBJECT)
controls.method("bits_table", "difference", "seed_spread", "domain_changes", *family_panels.METHOD)
