"""Does DeepSeekMoE beat what came before it?"""

import streamlit as st

from app.views.comparison import paper
from app.views.comparison.figures import change_lines, difference_rows
from app.views.shared import controls

controls.page("Does DeepSeekMoE beat what came before it?")
try:
    found = paper.load()
except ValueError as error:
    st.info(str(error))
    st.stop()
names = [name for name in found.differences.domain.unique() if name != "all"]
domain = controls.choice("Texts", ["all", *names], key="domain")
table = found.differences[found.differences.domain == domain].reset_index(drop=True)
asked = found.questions
controls.headline(paper.headline(table))
controls.answer(paper.sentence(asked))
controls.chart(
    difference_rows(table, controls.palette(), reference="GShard"),
    alt="Bits per byte of every model less those of GShard, with intervals",
    key="differences",
)
controls.note(
    "Bar: 95 % of other texts, paired. Band: two standard deviations of what another seed moves a "
    "difference by; a single seed inside it decides nothing. Right: bits per byte. All read the "
    f"same {found.runs.tokens.iloc[0] / 1e6:.0f} M tokens; same activated parameters unless ×n."
)
controls.download(found.bits, name="bits_per_byte_by_domain", trace="comparison")
controls.download(found.differences, name="bits_less_those_of_gshard", trace="comparison")

st.subheader("The paper's questions", anchor=False)
controls.table(asked, name="questions", trace="comparison")
controls.note(
    "Difference in bits per byte, first less second: below 0 the first is better. A verdict needs "
    "an interval without 0 and more than two spreads of the seeds. paper: what arXiv 2401.06066 "
    "found with 2 B parameters and 100 B tokens."
)

st.subheader("How redundant are the experts?", anchor=False)
changed = found.interventions
left, right = st.columns(2, gap="large")
with left:
    st.markdown("**The best experts of each token masked**")
    masked = paper.masked(changed)
    figure = change_lines(masked, controls.palette(), title="routed experts masked", percent=True)
    controls.chart(figure, alt="Loss against the share of top experts masked", key="masked")
with right:
    st.markdown("**Fewer experts activated**")
    fewer = paper.activated(found, changed)
    figure = change_lines(
        fewer, controls.palette(), title="routed experts activated", percent=False
    )
    controls.chart(figure, alt="Loss against the number of activated experts", key="activated")
controls.answer(paper.redundancy(changed))
controls.download(changed, name="interventions", trace="comparison")

with st.expander("Every claim of the article", icon=":material/fact_check:"):
    st.markdown(paper.claims())
with st.expander("Trainings", icon=":material/show_chart:"):
    controls.table(found.runs, name="trainings", trace="comparison")
controls.method("bits_table", "difference", "seed_spread", "domain_changes")
