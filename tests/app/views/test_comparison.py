"""The page Architectures and the diagnostics of Overview, on what is shipped."""

from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis.comparison import difference
from app.views.comparison import paper
from app.views.comparison.figures import change_lines, diagnostic_rows, difference_rows
from app.views.shared.theme import LIGHT
from tests.app.pages import texts

PAGE = str(Path(__file__).parents[3] / "app" / "views" / "comparison" / "page.py")


@pytest.fixture(scope="module")
def comparison() -> paper.Comparison:
    return paper.load()


def test_every_model_read_the_same_150_million_tokens_or_more(
    comparison: paper.Comparison,
) -> None:
    assert set(comparison.runs.preset) == set(paper.NAMES)
    assert comparison.runs.tokens.min() >= 150e6
    by_seed = comparison.runs.groupby("seed").tokens.nunique()
    assert by_seed.max() == 1
    main = comparison.runs[comparison.runs.preset.isin(["mini-gshard", "mini-deepseekmoe"])]
    assert main.groupby("preset").seed.nunique().min() >= 2


def test_the_compared_models_activate_as_many_parameters(comparison: paper.Comparison) -> None:
    runs = comparison.runs.drop_duplicates("preset").set_index("preset").active_parameters
    shared = [name for name in paper.NAMES if "-x" not in name]
    assert (runs[shared] / runs["mini-gshard"]).between(0.99, 1.02).all()


@pytest.mark.slow
def test_the_tables_are_those_of_the_losses(comparison: paper.Comparison) -> None:
    losses = pd.read_parquet(paper.FOLDER / "losses.parquet")
    losses = losses.astype({"preset": str, "variant": str, "nats": float})
    documents = pd.read_parquet(paper.FOLDER / "documents.parquet")
    plain = losses[losses.variant == ""]
    for asked, (_, preset, other, _) in zip(
        comparison.questions.itertuples(), paper.QUESTIONS, strict=True
    ):
        again = difference(plain, documents, f"mini-{preset}", f"mini-{other}")
        assert (again["verdict"], again["reason"]) == (asked.verdict, asked.reason)
        for column in ("estimate", "low", "high", "spread"):
            assert getattr(asked, column) == pytest.approx(
                again[column], rel=1e-4, abs=1e-7, nan_ok=True
            )


@pytest.mark.slow
def test_the_page_shows_every_question_and_claim() -> None:
    app = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not app.exception
    asked = app.dataframe[0].value
    assert list(asked.question) == [question for question, *_ in paper.QUESTIONS]
    assert set(asked.verdict) <= {"better", "worse", "not decided"}
    assert ((asked.reason != "") == (asked.verdict == "not decided")).all()
    assert (
        "not distinguishable from GShard (+0.0031 bits per byte over 3 seeds, +0.0009 to +0.0053 "
        "over groups of texts: seeds alone change it by 0.0037, two standard errors over 3 seeds)"
    ) in texts(app)
    assert any("The article's claims, and what we found" in text.value for text in app.markdown)


@pytest.mark.slow
def test_a_domain_has_figures_of_its_own() -> None:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.query_params["loss_domain"] = "code"
    app.run()
    assert not app.exception
    assert app.metric[1].label == "GShard"
    assert app.metric[1].value == "0.957"


def test_without_results_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "FOLDER", tmp_path)
    paper.load.clear()
    app = AppTest.from_file(PAGE, default_timeout=60).run()
    paper.load.clear()
    assert not app.exception
    assert "bench_comparison.py pack" in app.info[0].value
    assert paper.diagnosed().empty


def test_a_row_of_the_figure_tells_interval_seeds_and_texts() -> None:
    row = {"model": "Dense", "bits": 1.3, "lowest": 1.2, "highest": 1.4, "seeds": 2, "n": 7}
    table = pd.DataFrame([row | {"difference": 0.1, "low": 0.05, "high": 0.2, "spread": 0.01}])
    figure = difference_rows(table, LIGHT, reference="GShard")
    hover = figure.data[1].text[0]
    for part in ("1.3000 bits per byte", "2 seeds", "+0.0500 to +0.2000", "7 texts", "equal: 0"):
        assert part in hover
    assert figure.layout.shapes[0].x1 == pytest.approx(0.02)  # two spreads


def test_a_diagnostic_without_texts_has_a_reason_instead_of_a_dot() -> None:
    row = {"estimate": None, "low": None, "high": None, "null": None, "article": 0.47}
    table = pd.DataFrame(
        [{"model": "this trace", "n_documents": 0, "n_groups": 0, "note": "no text"} | row]
    )
    numbers = dict.fromkeys(row, "Float64")
    figure = diagnostic_rows(table.astype(numbers), LIGHT, percent=False)
    assert figure.data[2].text[0] == "this trace: no text"


def test_a_difference_of_too_few_texts_has_that_instead_of_an_interval(
    comparison: paper.Comparison,
) -> None:
    table = paper.of_domain(comparison, "math")
    hover = difference_rows(table, LIGHT, reference="GShard").data[1].text[0]
    assert "(not enough independent texts to say); equal: 0<br>228 texts in 19 groups" in hover
    assert "nan" not in hover


def test_lines_of_variants_begin_where_nothing_is_masked(comparison: paper.Comparison) -> None:
    table = paper.masked(comparison)
    figure = change_lines(table, LIGHT, title="masked", percent=True)
    assert {line.name for line in figure.data} == set(paper.REDUNDANCY)
    gshard = next(line for line in figure.data if line.name == "GShard")
    assert list(gshard.x) == [0, 1 / 16, 2 / 16, 3 / 16, 4 / 16]
    assert gshard.y[0] == pytest.approx(1.2168, abs=1e-4)  # seed 0, as it is
    assert "unchanged: 0" in gshard.text[1]
