"""What became of an import: what was read, what is wrong with it, and a name for it."""

import streamlit as st

from app import workspace
from app.jobs.importing import Result
from app.studies.importing import Imported
from app.views.shared import controls, integrity


def draw(result: Result) -> None:
    imported = result.imported
    controls.headline(figures(imported))
    integrity.draw(imported.findings, trace="import")
    with st.form("save_import", border=False):
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        name = left.text_input("Name of the trace", "imported", key="import_name")
        pressed = right.form_submit_button(
            "Save as a trace", type="primary", icon=":material/save:"
        )
    if not pressed:
        return
    try:
        workspace.save_trace(result.path, name.strip())
    except (ValueError, OSError) as error:
        controls.refused("The trace was not saved.", error)
        return
    st.success("Saved. Choose it in the sidebar of any page.")
    st.page_link(
        "views/overview/page.py",
        label="Open it on Overview",
        icon=":material/dashboard:",
        query_params={"trace": name.strip()},
    )


def figures(imported: Imported) -> list[tuple[str, str, str]]:
    tokens = f"{imported.tokens:,}" if imported.tokens else "not known"
    return [
        ("Files", f"{imported.files:,}", imported.format),
        ("Tokens", tokens, f"of {imported.documents:,} texts or passes"),
        ("Choices", f"{imported.choices:,}", f"in {imported.layers} MoE layers"),
        ("Integrity", integrity.summary(imported.findings), "see the report"),
    ]
