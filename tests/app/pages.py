"""Pages of the app, run without a browser."""

import re
from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button
from streamlit.util import calc_hash

from app.jobs.queue import all_jobs

APP = Path(__file__).parents[2] / "app"
PAGES = {
    "overview": "Which domain does each expert prefer?",
    "search": "Where does this occur?",
    "specialization": "Which experts prefer which domain?",
    "load_balance": "Do all experts carry their share?",
    "coactivation": "Which experts work together?",
    "vocabulary": "Do experts follow the word or the subject?",
    "domain_clusters": "Do texts of one domain travel together?",
    "cache": "How many experts must lie in fast memory?",
    "causes": "Does removing a specialist hurt its own domain?",
    "compare": "What changed from one trace to another?",
    "placement": "Which expert should lie on which GPU?",
    "expert_lists": "Which experts to keep, to tune, to watch?",
    "prompts": "Which experts does my text use?",
    "training": "When did the experts settle, and was it worth it?",
    "redundancy": "Could fewer experts do the same work?",
    "comparison": "Does DeepSeekMoE beat what came before it?",
    "importing": "What did another engine route?",
    "export": "What can I take away?",
}

CONTROLS = (  # kinds of elements that somebody sets
    "selectbox",
    "number_input",
    "slider",
    "select_slider",
    "toggle",
    "checkbox",
    "multiselect",
    "button_group",
    "text_input",
    "text_area",
)


def page(name: str, **query: str | list[str]) -> AppTest:
    app = AppTest.from_file(str(APP / "navigation.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app._page_hash = calc_hash("" if name == "overview" else name)  # switch_page would run two
    return app.run()


def texts(app: AppTest) -> str:
    """Without the explanations of terms."""
    html = " ".join(str(element.proto.body) for element in app.get("html"))
    return re.sub("</?abbr[^>]*>", "", html)


def words(app: AppTest) -> str:
    """All text of a page and its figures, without the method: that one explains what NaN means."""
    numbers = [f"{metric.label} {metric.value} {metric.delta}" for metric in app.metric]
    marked = [
        element.value for element in [*app.markdown, *app.info] if "#####" not in element.value
    ]
    charts = [element.proto.spec for element in app.get("plotly_chart")]
    return " ".join(map(str, [texts(app), *numbers, *marked, *charts]))


def run_to_its_end(app: AppTest) -> AppTest:
    """The page when what runs on Prompts has ended."""
    job = all_jobs().get(f"run|{app.session_state.run}")
    assert job is not None
    assert job.ended.wait(300)
    return app.run()


def run_button(app: AppTest) -> Button:
    return next(button for button in app.button if button.label == "Run")
