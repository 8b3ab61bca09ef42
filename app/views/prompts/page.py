"""Which experts does my text use?"""

import streamlit as st

from analysis import queries
from app.jobs.prompts import Result
from app.trace import Trace, open_trace
from app.views.prompts import form, model_choice
from app.views.prompts.layout import draw_text
from app.views.prompts.run import linked_job, start
from app.views.shared import controls, needs, progress
from app.views.shared.theme import visible
from app.views.shared.trace_choice import trace_page
from app.workspace import trace_file

OWN, STORED = "your run", "this trace"

trace = trace_page("Which experts does my text use?")
choice = model_choice.draw()
request = form.asked(choice) if choice else None
if request:
    start(request, trace)
job = linked_job()
if job and job.active:
    progress.follow(job, key="run")
    st.stop()
if job:
    progress.outcome(job, failed="The text could not be run.")
result = job.result_of(Result) if job else None


def choose_source() -> Trace:
    if result is None:
        controls.note(
            "Until you run a text of your own, this page shows the texts of the trace "
            f"{trace.name}."
        )
        return trace
    source = st.segmented_control("Show", [OWN, STORED], default=OWN, key="source", required=True)
    return trace if source == STORED else open_trace(trace_file(result.path))


st.divider()
shown = choose_source()
needs.tokens(shown, "which experts its texts use")
needs.weights(shown)
with shown.cursor() as con:
    documents = queries.documents(con)
documents = documents[documents.tokens > 0].set_index("doc_id")
if documents.empty:
    st.info("The texts have no tokens.")
    st.stop()


titles = {
    row.Index: f"{row.Index} · {row.domain} · {row.tokens} tokens · "
    + visible(str(row.text or row.origin)[:90])
    for row in documents.itertuples()
}
if len(documents) > 1:
    doc_id = st.selectbox(
        "Text", documents.index, format_func=titles.__getitem__, key="text", bind="query-params"
    )
else:
    doc_id = int(documents.index[0])
if result and shown.path == result.path:
    form.save(result)
draw_text(trace, shown, int(doc_id))
controls.method("expert_domain", "expert_clusters", "typical_tokens", "cluster_agreement")
