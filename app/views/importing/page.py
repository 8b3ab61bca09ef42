"""What did another engine route?"""

import streamlit as st

from app.jobs.importing import Result
from app.views.importing import form, result
from app.views.shared import controls, left_out, progress

controls.page("What did another engine route?")
controls.answer(
    "Routing that SGLang, vLLM, llama.cpp, Megatron-Core or a research tool has recorded becomes a "
    "trace like any other. What cannot be right in it is named, never repaired in silence."
)
request = form.asked()
if request:
    form.start(request)
job = form.linked_job()
if job and job.active:
    progress.follow(job, key="import")
    left_out.stop()
if job:
    progress.outcome(job, failed="The files could not be imported.")
done = job.result_of(Result) if job else None
if done and done.path.is_file():
    st.divider()
    result.draw(done)
with st.expander("Formats that are read", icon=":material/description:"):
    st.markdown(form.formats())
