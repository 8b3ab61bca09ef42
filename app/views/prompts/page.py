"""Which experts does my text use?"""

import streamlit as st

from app.jobs.job import Job
from app.prompt_runs import Run
from app.trace import Trace
from app.views.prompts import again, form, live, my_runs, pair, run_facts, text_choice
from app.views.prompts.layout import draw_text
from app.views.prompts.run import FIRST, SECOND, give_back, linked, opened, start
from app.views.shared import controls, left_out, needs, progress, selecting
from app.views.shared.trace_choice import trace_page

BOTH, STORED = "both runs", "this trace"
SOURCES = {FIRST: "your run", SECOND: "the run beside it"}

trace = trace_page(
    "Which experts does my text use?",
    uses=("layer", "expert", "domains", "groups", "texts", "tokens"),
)
of = selecting.current()
to_read = FIRST in st.query_params or of.texts or of.tokens or of.experts
choice, request = form.draw(is_open=not to_read, is_given_back=give_back())
if request:
    start(request, trace)
    st.rerun()  # what was typed makes room for what comes
found = linked()
jobs = {side: one for side, one in found.items() if isinstance(one, Job)}
runs = {side: one for side, one in found.items() if isinstance(one, Run)}
if is_running := FIRST in jobs and jobs[FIRST].active:
    live.follow(jobs[FIRST], key=FIRST)
my_runs.draw(trace)
if is_running:
    left_out.stop()
for job in jobs.values():
    progress.outcome(job, failed="The text could not be run.")


def choose_source() -> str:
    if not runs:
        return STORED
    sources = [*(SOURCES[side] for side in runs), STORED]
    if len(runs) == 2:
        return controls.choice("Show", [BOTH, *sources], key="of_pair")
    chosen = st.segmented_control("Show", sources, default=sources[0], key="source", required=True)
    return chosen or sources[0]


def draw_one(shown: Trace, side: str | None) -> None:
    needs.tokens(shown, "which experts its texts use")
    needs.weights(shown)
    doc_id = text_choice.draw(shown, side=side)
    if side:
        run_facts.draw(runs[side], trace)
    if side == FIRST and SECOND not in runs and not beside_active:
        again.offer(trace, choice, runs[side], doc_id)
    draw_text(trace, shown, doc_id)


beside_active = SECOND in jobs and jobs[SECOND].active
if beside_active:
    live.follow(jobs[SECOND], key=SECOND)
source = choose_source()
if source == BOTH:
    pair.draw(trace, choice, runs)
else:
    side = next((side for side in runs if SOURCES[side] == source), None)
    draw_one(opened(runs[side]) if side else trace, side)
controls.method(
    *("expert_domain", "expert_clusters", "typical_tokens", "cluster_agreement"),
    *("same_tokens", "pair_flips"),
)
