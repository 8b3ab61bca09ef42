"""`streamlit run app`."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
ICON = HERE / "icon.svg"  # a named icon would be fetched from another host

st.set_page_config(page_title="RouteScope", page_icon=str(ICON), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(ICON))

st.navigation(
    {
        "Trace": [
            st.Page(
                "views/overview.py", title="Overview", icon=":material/dashboard:", default=True
            ),
            st.Page("views/specialization.py", title="Specialization", icon=":material/grid_on:"),
            st.Page("views/load_balance.py", title="Load balance", icon=":material/balance:"),
            st.Page("views/coactivation.py", title="Co-activation", icon=":material/hub:"),
            st.Page("views/vocabulary.py", title="Vocabulary", icon=":material/abc:"),
            st.Page(
                "views/domain_clusters.py", title="Domain clusters", icon=":material/bubble_chart:"
            ),
            st.Page("views/causes.py", title="Causes", icon=":material/content_cut:"),
        ],
        "Model": [
            st.Page("views/prompts.py", title="Prompts", icon=":material/edit_note:"),
            st.Page("views/training.py", title="Training", icon=":material/show_chart:"),
            st.Page("views/redundancy.py", title="Redundancy", icon=":material/content_copy:"),
            st.Page("views/comparison.py", title="Comparison", icon=":material/compare_arrows:"),
        ],
        "Take away": [st.Page("views/export.py", title="Export", icon=":material/download:")],
    }
).run()
