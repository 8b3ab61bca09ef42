"""Every page in one line; the server runs this for every browser tab."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
ICON = HERE / "icon.svg"  # a named icon would be fetched from another host


def page(name: str, title: str, icon: str, *, first: bool = False) -> st.Page:
    """app/views/<name>/page.py, at /<name>."""
    path = f"views/{name}/page.py"
    return st.Page(
        path,
        title=title,
        icon=f":material/{icon}:",
        url_path=None if first else name,
        default=first,
    )


if __name__ == "__main__":  # a spawned process imports this file too
    from app import garbage
    from app.jobs.queue import all_jobs
    from app.views.shared import controls, jobs_panel, search_box, selecting, tour
    from app.views.shared.trace_choice import UNREADABLE
    from data.connection import TraceError

    st.set_page_config(page_title="RouteScope", page_icon=str(ICON), layout="wide")
    st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(ICON))
    chosen = st.navigation(
        {
            "Trace": [
                page("overview", "Overview", "dashboard", first=True),
                page("search", "Search", "search"),
                page("specialization", "Specialization", "grid_on"),
                page("load_balance", "Load balance", "balance"),
                page("coactivation", "Co-activation", "hub"),
                page("vocabulary", "Vocabulary", "abc"),
                page("domain_clusters", "Domain clusters", "bubble_chart"),
                page("causes", "Causes", "content_cut"),
            ],
            "Decisions": [
                page("placement", "Placement", "dns"),
                page("cache", "Cache", "memory"),
                page("compare", "Compare", "compare_arrows"),
                page("expert_lists", "Expert lists", "checklist"),
            ],
            "Model": [
                page("prompts", "Prompts", "edit_note"),
                page("training", "Training", "show_chart"),
                page("redundancy", "Redundancy", "content_copy"),
                page("comparison", "Architectures", "account_tree"),
            ],
            "Data": [
                page("importing", "Import", "upload_file"),
                page("export", "Export", "download"),
            ],
        },
        expanded=True,
    )
    name = chosen.url_path or "overview"
    selecting.arrive(name)
    search_box.draw(chosen.url_path)  # which also sends the browser on
    selecting.wait_for_browser()
    jobs_panel.draw()
    all_jobs().draw_first()
    tour.draw(name)
    try:
        with selecting.shown():
            chosen.run()
        garbage.spare_what_is_loaded(chosen.url_path)
    except TraceError as error:  # a damaged part of an opened trace, or it took too long
        controls.refused(UNREADABLE, error)
