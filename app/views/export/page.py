"""What can I take away?"""

from functools import partial

import streamlit as st

from app import evidence, sidecars, summary_kinds
from app.views.export import tables as export
from app.views.export.zip_job import draw_zip
from app.views.shared import coming, controls, limits, other_tools
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable
from data.file_names import file_name
from data.report import csv_text
from data.strict_json import json_text

NOT_YET = "Not computed yet. The lines above say how far it is, or what to do."

trace = trace_page("What can I take away?")
tables, awaited = export.tables(trace), export.awaited(trace)
controls.answer(
    f"{len(tables)} tables of the trace {trace.name} as CSV, one by one or all in one zip with a "
    "manifest that names the model, the trace and the number of rows."
)
coming.draw(trace)
limits.draw_sample(trace)
draw_unusable(trace, *summary_kinds.BY_SUMMARY, *sidecars.BY_INFORMATION, sidecars.CAUSES)
bom = st.checkbox(
    "For spreadsheets: begin each CSV with a byte order mark, by which they know UTF-8",
    key="bom",
    bind="query-params",
)


def csv_of(name: str) -> str:
    return csv_text(tables[name][1](), bom=bom)


st.markdown("**Everything**")
zip_file, contents = st.columns([2, 3], gap="large")
with zip_file:
    whole = "every count" if trace.info.counts_only else "every token, choice and weight"
    raw = st.checkbox(f"Include the trace: {whole}", key="raw", bind="query-params")
    draw_zip(trace, raw=raw, bom=bom)
with contents:
    controls.note(
        "Text that a spreadsheet would run as a formula gets a leading apostrophe. The trace is "
        f"one DuckDB file, {trace.path.name}, which any DuckDB 2 can open as it is."
    )
    if not awaited:
        with st.expander("manifest.json", icon=":material/data_object:"), st.spinner(evidence.WAIT):
            manifest = export.manifest(trace, raw=raw)
            st.code(json_text(manifest, indent=2), language="json", height=420)
st.markdown("**For other tools**")
other_tools.draw(trace)
controls.note(
    "The command routescope export writes these too, and OLMoE's JSON Lines and every table "
    "as Parquet or JSON Lines, which may be as long as the trace."
)
st.markdown("**One table**")
with st.grid(min_column_width=250, gap="medium"):
    for name, (title, _) in tables.items():
        with st.container(gap="xsmall"):
            st.download_button(
                f"{name}.csv",
                partial(csv_of, name),
                file_name=file_name(trace.name, name) + ".csv",
                mime="text/csv",
                on_click="ignore",
                key=f"csv_{name}",
                type="tertiary",
                icon=":material/download:",
                disabled=name in awaited,
                help=NOT_YET if name in awaited else None,
            )
            controls.note(title)
