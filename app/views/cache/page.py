"""How many experts must lie in fast memory?"""

import streamlit as st

from analysis.expert_bytes import expert_bytes
from analysis.offload.caches import Setting
from app import cache_kinds, evidence
from app.commands.cache import BANDWIDTH, FASTEST
from app.jobs import beside
from app.views.cache import panels
from app.views.cache.replayed import replayed
from app.views.shared import controls, left_out, limits, needs, progress
from app.views.shared.drawing import draw
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable

POOLS, STARTS = ["one pool", "by layer"], ["warm", "cold"]

trace = trace_page("How many experts must lie in fast memory?")
needs.tokens(trace, "in which order experts are asked for")
known = expert_bytes(trace.info)
with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
    per_layer = controls.choice("Slots", POOLS, key="pool") == POOLS[1]
    cold = controls.choice("Cache", STARTS, key="start") == STARTS[1]
    size = st.number_input(
        "MB an expert",
        0.0,
        value=known / 1e6 if known else None,
        format="%.4g",
        key="mb",
        bind="query-params",
        width=140,
    )
    bandwidth = st.number_input(
        "GB/s into the cache",
        0.001,
        float(FASTEST),
        BANDWIDTH,
        format="%.4g",
        key="gbs",
        bind="query-params",
        width=160,
    )
with st.spinner(evidence.WAIT):
    try:
        found = replayed(trace, per_layer=per_layer, cold=cold)
    except ValueError as error:
        st.info(str(error))
        left_out.stop()
sizes = found.sizes
middle = sizes[len(sizes) // 2]
slots = sizes[0]
if len(sizes) > 1:
    slots = st.select_slider(
        "Experts that fit", sizes, middle, key="slots", bind="query-params", width=420
    )
setting = Setting(slots=slots, per_layer=per_layer, cold=cold)
costs = panels.Costs(expert_bytes=round(size * 1e6) if size else None, bandwidth=bandwidth * 1e9)
controls.headline(panels.headline(found, setting, costs))
job = beside.cache(trace)
if job and job.active:
    controls.note("A first look at some of the texts; all that judge are being replayed.")
    progress.follow(job, key="cache")
elif job:
    progress.outcome(job, failed="All of it could not be replayed.")
draw_unusable(trace, *cache_kinds.BY_CACHE)
with st.spinner(evidence.WAIT):
    for panel in panels.panels(trace, controls.palette(), setting=setting, costs=costs):
        draw(panel, subject=trace)
limits.draw_sample(trace)
controls.method(*panels.METHOD)
