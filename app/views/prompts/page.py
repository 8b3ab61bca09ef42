"""Which experts does my text use?"""

import streamlit as st

from app.jobs.prompts import Result
from app.trace import Trace, open_trace
from app.views.prompts import again, form, model_choice, pair, text_choice
from app.views.prompts.layout import draw_text
from app.views.prompts.run import FIRST, SECOND, linked_jobs, start
from app.views.shared import controls, needs, progress
from app.views.shared.trace_choice import trace_page
from app.workspace import trace_file

BOTH, STORED = "both runs", "this trace"
SOURCES = {FIRST: "your run", SECOND: "the run beside it"}

trace = trace_page("Which experts does my text use?")
choice = model_choice.draw()
request = form.asked(choice) if choice else None
if request:
    start(request, trace)
jobs = linked_jobs()
if FIRST in jobs and jobs[FIRST].active:
    progress.follow(jobs[FIRST], key="run")
    st.stop()
for job in jobs.values():
    progress.outcome(job, failed="The text could not be run.")
runs = {side: run for side, job in jobs.items() if (run := job.result_of(Result))}


def choose_source() -> str:
    if not runs:
        controls.note(
            "Until you run a text of your own, this page shows the texts of the trace "
            f"{trace.name}."
        )
        return STORED
    sources = [SOURCES[side] for side in runs] + [STORED]
    if len(runs) == 2:
        return controls.choice("Show", [BOTH, *sources], key="of_pair")
    chosen = st.segmented_control("Show", sources, default=sources[0], key="source", required=True)
    return chosen or sources[0]


def draw_one(shown: Trace, side: str | None) -> None:
    needs.tokens(shown, "which experts its texts use")
    needs.weights(shown)
    doc_id = text_choice.draw(shown, key="text_beside" if side == SECOND else "text")
    if side:
        form.save(runs[side])
    if side == FIRST and SECOND not in runs and not beside_active:
        again.offer(trace, choice, runs[side], doc_id)
    draw_text(trace, shown, doc_id)


st.divider()
beside_active = SECOND in jobs and jobs[SECOND].active
if beside_active:
    progress.follow(jobs[SECOND], key="beside")
source = choose_source()
if source == BOTH:
    pair.draw(trace, choice, runs)
else:
    side = next((side for side in runs if SOURCES[side] == source), None)
    draw_one(open_trace(trace_file(runs[side].path)) if side else trace, side)
controls.method(
    *("expert_domain", "expert_clusters", "typical_tokens", "cluster_agreement"),
    *("same_tokens", "pair_flips"),
)
