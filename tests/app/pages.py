"""Pages of the app, run without a browser."""

from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.jobs.queue import all_jobs

APP = Path(__file__).parents[2] / "app"


def page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP / "streamlit_app.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app._page_hash = calc_hash("" if name == "overview" else name)  # switch_page would run two
    return app.run()


def texts(app: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in app.get("html"))


def run_to_its_end(app: AppTest) -> AppTest:
    job = all_jobs().get(app.session_state.run)
    assert job is not None
    assert job.ended.wait(60)
    return app.run()
