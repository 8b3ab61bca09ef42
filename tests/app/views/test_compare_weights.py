"""Experts matched by weights on the page Compare."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.queue import all_jobs
from tests.app.pages import page, texts
from tests.matched import drawn_texts, write_texts
from tests.twins import write_model, write_twin

BUTTON = "Match experts by weights"


@pytest.fixture
def models(traces: Path, tmp_path: Path) -> Path:
    """Two seeds, which have one config, and of the second a twin; a trace of each."""
    folder = tmp_path / "models"
    write_model(folder / "seed_0")
    write_model(folder / "seed_1", seed=1)
    name_LE = np.array([[1, 0, *range(2, 8)]] * 2)
    write_twin(folder / "twin", folder / "seed_1", name_LE)
    for name in ("seed_1", "twin"):
        path = traces / f"{name}.duckdb"
        write_texts(path, drawn_texts(), layers=2, model=folder / name)
    return folder


def compared(first: str = "seed_1", second: str = "twin") -> AppTest:
    app = page("compare", trace=first, traces=second, look="tokens")
    assert not app.exception
    return app


def buttons(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


@pytest.mark.slow
def test_a_button_matches_them_and_the_answer_sets_both_ways_side_by_side(models: Path) -> None:
    app = compared()
    assert "Above, experts are matched by routing" in texts(app)
    app = next(button for button in app.button if button.label == BUTTON).click().run()
    [job] = [job for job in all_jobs().all() if job.title == "Matching experts of seed_1 and twin"]
    assert job.ended.wait(300)
    assert job.state == "done", job.error
    app = app.run()
    assert not app.exception
    assert "By weights, 16 of 16 experts have a counterpart" in texts(app)
    assert "12 have the same counterpart both ways; by chance 2.0 would. Of layer 0: 8" in texts(
        app
    )
    assert BUTTON not in buttons(app)


def test_where_a_model_is_not_here_the_page_says_which(models: Path) -> None:
    for folder in models.iterdir():  # a twin has the config of all
        shutil.rmtree(folder)
    app = compared()
    assert BUTTON not in buttons(app)
    assert "the model of seed_1 is not here" in texts(app)


def test_a_trace_that_names_no_weights_and_one_of_the_same_weights_say_so(
    models: Path, traces: Path
) -> None:
    write_texts(traces / "again.duckdb", drawn_texts(), layers=2, model=models / "seed_1")
    assert "Both are of the same weights" in texts(compared(second="again"))
    assert BUTTON not in buttons(compared(second="again"))


def test_experts_of_other_sizes_are_not_offered_to_a_job(models: Path, traces: Path) -> None:
    write_model(models / "wide", expert_dim=24)
    write_texts(traces / "wide.duckdb", drawn_texts(), layers=2, model=models / "wide")
    app = compared(second="wide")
    assert BUTTON not in buttons(app)
    assert "an expert of seed_1 has" in texts(app)
    assert "and only experts of one size can be compared" in texts(app)


def test_parts_of_one_trace_have_one_model(models: Path) -> None:
    app = page("compare", trace="seed_1", look="tokens", **{"with": "halves"})
    assert not app.exception
    assert "by weights" not in texts(app).lower()


def test_weights_are_offered_where_no_text_is_in_both(models: Path, traces: Path) -> None:
    texts_of_twin = drawn_texts(texts=26)[24:]
    (traces / "twin.duckdb").unlink()
    write_texts(traces / "twin.duckdb", texts_of_twin, layers=2, model=models / "twin")
    app = compared()
    assert "Their tokens cannot be compared" in app.info[0].value
    assert BUTTON in buttons(app)
    assert "Above, experts are matched" not in texts(app)
