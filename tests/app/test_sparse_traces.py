"""Pages of traces that lack texts, ids, weights or tokens: shown as far as they go."""

from pathlib import Path

import numpy as np
import pytest

from analysis import expert_words, projection, queries
from app import evidence, workspace
from app.trace import Trace, open_trace
from app.views.export import tables
from app.views.shared import needs
from tests.app.pages import page, texts, words
from tests.app.sparse_traces import counted, written

OF_TOKENS = ["coactivation", "vocabulary", "domain_clusters", "causes", "prompts"]
TWO = (*["math"] * 12, *["code"] * 12)


def opened(path: Path) -> Trace:
    return open_trace(workspace.trace_file(path))


@pytest.mark.parametrize("name", OF_TOKENS)
def test_a_page_about_tokens_says_in_a_sentence_that_a_trace_counts_only(
    name: str, traces: Path
) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    app = page(name)
    assert not app.exception
    (said,) = [info.value for info in app.info if info.value.startswith(needs.COUNTS_ONLY)]
    assert said.endswith("Load balance shows what was counted.")


@pytest.mark.parametrize("top_k", [2, None])
@pytest.mark.parametrize("name", ["overview", "specialization", "load_balance", "export"])
def test_a_page_about_loads_shows_a_trace_that_counts_only(
    name: str, top_k: int | None, traces: Path
) -> None:
    counted(traces / "counts.duckdb", top_k=top_k, domains=TWO)
    app = page(name)
    assert not app.exception
    assert not app.error
    assert "384 choices, counts only" in texts(app)  # 24 documents, 2 layers of 8


def test_the_load_of_counted_choices_is_that_of_the_counts(traces: Path) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    shown = words(page("load_balance"))
    assert "Busiest expert, layer 0 2.00×" in shown  # 4 of 8 among 4 experts
    assert "96 choices per layer" in shown  # 12 documents of 8


def test_without_k_a_counted_choice_is_a_token_of_its_own_and_the_most_is_left_to_chance(
    traces: Path,
) -> None:
    counted(traces / "pairs.duckdb", top_k=2)
    counted(traces / "unknown.duckdb", top_k=None)
    known, unknown = (
        evidence.absence(opened(traces / f"{name}.duckdb")) for name in ("pairs", "unknown")
    )
    assert known.expected_L == pytest.approx([4 * (1 / 2) ** 48] * 2)  # 96 choices, 2 a token
    assert unknown.expected_L == pytest.approx([4 * (3 / 4) ** 96] * 2)
    assert known.dead() == unknown.dead() == 2


def test_tables_of_tokens_are_not_exported_where_there_are_none(traces: Path) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    names = set(tables.tables(opened(traces / "counts.duckdb")))
    assert not names & (tables.OF_TOKENS | tables.OF_TOKEN_IDS)
    assert {"expert_choices", "expert_load", "load_by_layer"} <= names


def test_a_token_without_text_is_shown_by_its_id(traces: Path) -> None:
    written(traces / "ids.duckdb", domains=("math", "code"))
    trace = opened(traces / "ids.duckdb")
    with trace.cursor() as con:
        assert queries.document_routing(con, 0).text.unique().tolist()[:3] == ["#0", "#7", "#14"]
        assert queries.token_ids(con).text.tolist()[1] == "#7"
        assert set(expert_words.expert_top_tokens(con, 0, 3).text) == {
            "#14",
            "#21",
            "#70",
            "#77",
            "#126",
            "#133",
        }
        context = expert_words.expert_contexts(con, 0, 0).iloc[0]  # the first token, 0 of 20
    assert (context.before, context.text) == ("", "#0")
    assert context.after.startswith(" #7 #14 #21")


def test_a_token_without_text_and_id_is_a_dot(traces: Path) -> None:
    written(traces / "bare.duckdb", with_ids=False)
    trace = opened(traces / "bare.duckdb")
    with trace.cursor() as con:
        assert set(queries.document_routing(con, 0).text) == {"·"}
        assert queries.token_ids(con).empty
        assert queries.token_id_choices(con, 0).empty
        assert expert_words.expert_top_tokens(con, 0, 0).empty


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize(
    "name", ["overview", "specialization", "load_balance", *OF_TOKENS, "export"]
)
def test_a_page_shows_a_trace_of_ids_alone(name: str, with_ids: bool, traces: Path) -> None:
    written(traces / "ids.duckdb", domains=TWO, with_ids=with_ids)
    app = page(name)
    assert not app.exception
    told = [info.value for info in app.info if info.value.startswith(needs.NO_IDS)]
    assert len(told) == (name == "vocabulary" and not with_ids)


def test_vocabulary_is_exported_only_where_token_ids_are_known(traces: Path) -> None:
    written(traces / "ids.duckdb")
    written(traces / "bare.duckdb", with_ids=False)
    with_ids, without = (
        tables.tables(opened(traces / f"{name}.duckdb")) for name in ("ids", "bare")
    )
    assert set(with_ids) - set(without) == {"vocabulary_by_layer"}


@pytest.mark.parametrize("name", ["overview", "load_balance", "prompts"])
def test_a_page_with_weights_says_that_there_are_none(name: str, traces: Path) -> None:
    written(traces / "ids.duckdb", domains=TWO)
    assert needs.NO_WEIGHTS in texts(page(name))


def test_the_sidebar_names_no_hash_of_a_model_that_has_none(traces: Path) -> None:
    written(traces / "ids.duckdb")
    assert "Model model<br>" in texts(page("overview"))


def test_tokens_of_ids_alone_are_mapped_with_all_choices_alike(traces: Path) -> None:
    written(traces / "ids.duckdb", domains=TWO)
    trace = opened(traces / "ids.duckdb")
    with trace.cursor() as con:
        points = projection.project_tokens(con, trace.info, seed=0)
    assert len(points.frame) == 24 * 20
    assert np.isfinite(points.reduced_PS).all()
