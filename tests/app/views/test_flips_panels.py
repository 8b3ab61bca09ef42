"""Panels of two traces of the same texts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.trace import Trace, open_trace
from app.views.compare import flips_figures as figures
from app.views.compare import words
from app.views.compare.flips_panels import TITLES, _strings, offered, panels, study
from app.views.shared.panel import Panel
from app.views.shared.theme import LIGHT
from app.workspace import trace_file
from tests.matched import Text, drawn_texts, write_texts


def shown(folder: Path, texts: list[Text], others: list[Text]) -> dict[str, Panel]:
    first, second = traces(folder, texts, others)
    return {panel.name: panel for panel in panels(first, second, LIGHT, layer_id=1)}


def traces(folder: Path, texts: list[Text], others: list[Text]) -> tuple[Trace, Trace]:
    opened = []
    for name, of in (("before", texts), ("after", others)):
        write_texts(folder / f"{name}.duckdb", of, layers=2)
        opened.append(open_trace(trace_file(folder / f"{name}.duckdb")))
    return opened[0], opened[1]


def changed(texts: list[Text], *, every: int) -> list[Text]:
    """The second choice of every so many tokens is the next free expert, in layer 1."""
    for text in texts:
        assert text.ids_TLK is not None
        for ids_K in text.ids_TLK[::every, 1]:
            ids_K[1] = min({0, 1, 2} - set(ids_K.tolist()))
    return texts


def test_every_figure_has_its_panels(tmp_path: Path) -> None:
    first, second = traces(tmp_path, drawn_texts(), changed(drawn_texts(), every=5))
    for figure in TITLES:
        drawn = panels(first, second, LIGHT, figure=figure)
        assert [panel.name for panel in drawn] == [
            "flips_by_layer",
            "flips_by_domain",
            "flips_by_margin",
            "flipped_tokens",
            "flips_by_string",
            "matched_experts",
        ]
        assert all(len(panel.table) for panel in drawn)


def test_the_answer_says_how_many_differ_beside_their_nulls(tmp_path: Path) -> None:
    drawn = shown(tmp_path, drawn_texts(), changed(drawn_texts(), every=5))
    answer = drawn["flips_by_layer"].answer
    assert "from 0% in layer 0 to 20.0% in layer 1" in answer
    assert "unrelated routers would differ in 9" in answer
    assert "of tokens differ in at least one layer" in answer
    assert "1,440 of their 1,440 tokens are the same" in drawn["flips_by_layer"].note
    assert "16 of 16 experts have a counterpart" in drawn["matched_experts"].answer
    assert "differs in 1 of 2 layers" in drawn["flipped_tokens"].answer


def test_where_nothing_differs_the_answer_says_so_and_no_tokens_are_listed(tmp_path: Path) -> None:
    drawn = shown(tmp_path, drawn_texts(), drawn_texts())
    assert drawn["flips_by_layer"].answer.startswith("No decision differs: all 1,440 tokens")
    assert "flipped_tokens" not in drawn
    assert drawn["flips_by_margin"].answer == "Nothing flips, so nothing is left to rounding."


def test_domains_of_one_rate_have_no_highest(tmp_path: Path) -> None:
    drawn = shown(tmp_path, drawn_texts(), drawn_texts())
    assert drawn["flips_by_domain"].answer == "0% in every domain."


def test_a_margin_that_few_groups_have_has_no_flip_rate() -> None:
    table = pd.DataFrame({"above": [1e-3, 1e-2], "up_to": [1e-2, 1e-1], "estimate": [0.0, 0.5]})
    table = table.assign(low=np.nan, high=np.nan, unrelated=0.9, share=0.5, n=2, n_groups=[2, 20])
    rate = next(
        of for of in figures.by_margin(table, LIGHT, level=0).data if of.name == "flip rate"
    )
    np.testing.assert_array_equal(rate.y, [np.nan, 0.5])


def test_only_figures_that_occur_are_offered(tmp_path: Path) -> None:
    for name in ("before", "after"):
        write_texts(tmp_path / f"{name}.duckdb", drawn_texts(), layers=2, weights=False)
    first, second = (
        open_trace(trace_file(tmp_path / f"{name}.duckdb")) for name in ("before", "after")
    )
    figures_of = offered(study(first, second))
    assert "distance of the weights" not in figures_of
    assert len(figures_of) == len(TITLES) - 1
    for figure in figures_of.values():
        for panel in panels(first, second, LIGHT, figure=figure)[:2]:
            assert panel.figure is not None
            axes = panel.figure.layout
            assert np.isfinite(axes.xaxis.range or axes.yaxis.range).all()


def test_words_that_differ_are_those_of_a_small_q(tmp_path: Path) -> None:
    texts = drawn_texts()
    first, second = traces(tmp_path, texts, changed(drawn_texts(), every=5))
    found = study(first, second)
    assert "No frequent token is sure" in _strings(found).answer
    sure = found.strings.assign(q=[0.04] + [1.0] * (len(found.strings) - 1))
    answer = _strings(replace(found, strings=sure)).answer
    assert answer.startswith(f"1 of {len(sure)} frequent tokens differs more often than all tokens")


def test_traces_without_a_common_text_are_refused_in_a_sentence(tmp_path: Path) -> None:
    first, second = traces(tmp_path, [Text(pieces=["a"], ids_TLK=np.array([[[0], [1]]]))], [])
    with pytest.raises(ValueError, match="no text is in both traces"):
        study(first, second)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0%"),
        (0.00001, "< 0.01%"),
        (0.0175, "1.75%"),
        (0.102, "10.2%"),
        (0.99999, "99.99%"),
        (1, "100%"),
        (np.nan, ""),
    ],
)
def test_a_share_has_as_many_digits_as_it_needs(value: float, text: str) -> None:
    assert words.percent(value) == text


def test_a_null_far_above_is_said_and_not_drawn(tmp_path: Path) -> None:
    drawn = shown(tmp_path, drawn_texts(), changed(drawn_texts(), every=20))
    figure = drawn["flips_by_layer"].figure
    assert figure is not None
    assert [note.text[:20] for note in figure.layout.annotations] == ["unrelated routers: 9"]
    assert "unrelated routers" not in [trace.name for trace in figure.data]
