"""Traces that leave little to say, on the pages of pairs and words: a line, never a number."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.views.shared import controls
from data.report import csv_text
from tests.app.pages import page, texts
from tests.sampled import sampled
from tests.traces import write_choices

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
T, E = 60, 4


def chosen(k: int, *, tokens: int = T, layers: int = 2) -> np.ndarray:
    return RNG.random((tokens, layers, E)).argsort(-1)[..., :k]


def with_dead_layer() -> np.ndarray:
    ids_TLK = chosen(2)
    ids_TLK[:, 0] = -1
    return ids_TLK


def with_varying_k() -> np.ndarray:
    ids_TLK = chosen(3)
    ids_TLK[::2, :, 2] = -1
    return ids_TLK


DOCUMENTS = np.repeat(np.arange(6), 10)
CASES: dict[str, tuple[np.ndarray, np.ndarray, dict]] = {
    "one document": (chosen(2), np.zeros(T, int), {}),
    "one token": (chosen(2, tokens=1), np.zeros(1, int), {}),
    "no labels": (chosen(2), DOCUMENTS, {"labels": False}),
    "k is 1": (chosen(1), DOCUMENTS, {}),
    "k is E": (chosen(E), DOCUMENTS, {}),
    "one layer": (chosen(2, layers=1), DOCUMENTS, {}),
    "dead layer": (with_dead_layer(), DOCUMENTS, {}),
    "varying k": (with_varying_k(), DOCUMENTS, {}),
    "ids only": (chosen(2), DOCUMENTS, {"ids_only": True}),
    "80 experts": (RNG.random((T, 2, 80)).argsort(-1)[..., :3], DOCUMENTS, {"num_experts": 80}),
}
SAID = {
    ("coactivation", "one document"): "Not enough independent texts to say",
    ("coactivation", "one token"): "every token chooses the same experts",
    ("coactivation", "k is 1"): "every token chooses one of 4 experts",
    ("coactivation", "k is E"): "every token chooses all 4 experts",
    ("coactivation", "one layer"): "the only MoE layer",
    ("coactivation", "dead layer"): "no routed tokens in this layer",
    ("vocabulary", "one token"): "no token id occurs 10 times",
    ("vocabulary", "one document"): "one domain or are unlabelled",
    ("vocabulary", "no labels"): "one domain or are unlabelled",
    ("vocabulary", "dead layer"): "no routed tokens",
    ("vocabulary", "ids only"): "ids only",
    ("vocabulary", "varying k"): "k varies",
}


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """An empty workspace; what the page offers as CSV is kept here."""
    found: list[pd.DataFrame] = []
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path))
    monkeypatch.setattr(controls, "download", lambda frame, **rest: found.append(frame))
    return found


def shown(app: AppTest, frames: list[pd.DataFrame]) -> str:
    lines = [element.value for element in app.info]
    return " ".join([texts(app), *lines, *map(csv_text, frames)])


@pytest.mark.parametrize(
    ("name", "case"), sampled(["coactivation", "vocabulary", "prompts"], CASES, one_of=3)
)
def test_a_trace_with_little_to_say(
    name: str, case: str, tmp_path: Path, frames: list[pd.DataFrame]
) -> None:
    ids_TLK, document_T, options = CASES[case]
    write_choices(tmp_path / "t.duckdb", ids_TLK, document_T, **options)
    app = page(name)
    for toggle in app.toggle:
        app = toggle.set_value(True).run()
    assert not app.exception
    assert SAID.get((name, case), "") in shown(app, frames)
    for frame in frames:
        numbers = frame.select_dtypes("number").to_numpy(float, na_value=0.0)
        assert np.isfinite(numbers).all()
        assert not {"nan", "inf"} & set(csv_text(frame).lower().replace('"', "").split(","))
    assert "nan" not in texts(app).lower().split()
