"""Layers with 4, 8 and 6 experts: no figure takes a place that is no expert for one."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis import arrays, expert_words, load, queries, specialization
from analysis.definition_table import CODE, OURS, definitions_table
from analysis.domain_counts import ALL_LAYERS, domain_counts, experts_per_domain
from analysis.expert_loads import expert_load_table
from analysis.experts_per_token import mean_k_table
from analysis.layers import marked, of_layers
from analysis.metric_intervals import metric_table
from analysis.projection import project_experts, project_tokens
from analysis.replication import replication
from analysis.significance import lift_table, limits
from analysis.vocabulary_rows import vocabulary_rows
from app.views.vocabulary.tables import trace_arrays
from data.store import open_trace
from tests.uneven import DOMAINS, SIZES, write_uneven_trace

EXPERTS_L = np.array(SIZES)
COLUMNS = ["estimate", "low", "high", "p", "n_tokens"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("uneven")
    for name in ("balanced", "drawn"):
        write_uneven_trace(folder / f"{name}.duckdb", balanced=name == "balanced")
    return {name: folder / f"{name}.duckdb" for name in ("balanced", "drawn")}


@pytest.fixture
def balanced(paths: dict[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_trace(paths["balanced"]) as con:
        yield con


@pytest.fixture
def drawn(paths: dict[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_trace(paths["drawn"]) as con:
        yield con


def test_a_load_is_nan_where_there_is_no_expert(balanced: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(balanced)
    tokens_LE = arrays.load_array(queries.expert_tokens(balanced), info)
    assert np.isnan(tokens_LE).sum(1).tolist() == [4, 0, 2]
    assert np.nanmin(tokens_LE) == np.nanmax(tokens_LE) == 36 * 6
    tokens_LEG = arrays.domain_array(queries.expert_domain_tokens(balanced), info)
    assert np.isnan(tokens_LEG).all(-1).sum(1).tolist() == [4, 0, 2]
    assert np.nansum(tokens_LEG, 1).tolist() == [[288] * 3, [576] * 3, [432] * 3]


def test_a_balanced_trace_is_balanced_in_every_layer(balanced: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(balanced)
    tokens_LE = arrays.load_array(queries.expert_tokens(balanced), info)
    assert load.max_violation(tokens_LE).tolist() == [0, 0, 0]
    assert load.gini(tokens_LE) == pytest.approx(0, abs=1e-12)
    assert load.coefficient_of_variation(tokens_LE) == pytest.approx(0, abs=1e-12)
    assert load.normalized_entropy(tokens_LE) == pytest.approx(1)
    assert load.dead_experts(tokens_LE).tolist() == [0, 0, 0]
    assert load.busiest_share(tokens_LE) == pytest.approx([3 / 4, 3 / 8, 3 / 6])
    tokens_LEG = arrays.domain_array(queries.expert_domain_tokens(balanced), info)
    assert specialization.mutual_information(tokens_LEG) == pytest.approx(0, abs=1e-12)
    assert specialization.distinct_share(tokens_LEG, min_tokens=1).tolist() == [0, 0, 0]


def test_a_layer_of_few_experts_is_measured_by_its_own() -> None:
    tokens_LE = np.array([[8, 0, np.nan, np.nan], [4, 4, 4, 4]])
    assert load.load_imbalance(tokens_LE).tolist() == [2, 1]  # 8 over 4
    assert load.gini(tokens_LE).tolist() == [0.5, 0]  # 1 - 1 / 2 at most
    assert load.coefficient_of_variation(tokens_LE).tolist() == [1, 0]
    assert load.normalized_entropy(tokens_LE).tolist() == [0, 1]
    assert load.busiest_share(tokens_LE).tolist() == [1, 0.75]
    assert load.dead_experts(tokens_LE).tolist() == [1, 0]
    halves_LE = np.array([[4, 4, np.nan, np.nan], [8, 8, 0, 0]])
    assert load.normalized_entropy(halves_LE).tolist() == [1, 0.5]  # ln 2 of ln 2, and of ln 4
    assert load.normalized_entropy(np.array([[5, np.nan]])).tolist() == [1]
    dropped_LE = np.array([[0, 2, np.nan, np.nan], [0, 0, 4, 0]])
    assert load.dropped_share(tokens_LE, dropped_LE).tolist() == [0.2, 0.2]


def test_chance_leaves_out_experts_of_the_layer_alone() -> None:
    """Two tokens choose one of 2, then one of 4."""
    tokens_LE = marked(np.array([[2, 0, 0, 0], [2, 0, 0, 0]]), np.array([2, 4]))
    tokens_LK = marked(np.array([[0, 2, 0, 0, 0]] * 2), np.array([3, 5]))
    absence = load.absence(tokens_LE, tokens_LK)
    assert absence.expected_L.tolist() == [2 / 4, 4 * 9 / 16]
    assert (absence.count(), absence.num_experts()) == (1 + 3, 6)


def test_an_array_of_k_ends_where_the_layer_does(drawn: duckdb.DuckDBPyConnection) -> None:
    tokens_LK = arrays.k_array(queries.domain_k(drawn), queries.trace_info(drawn))
    assert np.isnan(tokens_LK).sum(1).tolist() == [4, 0, 2]
    assert np.nan_to_num(tokens_LK)[:, :3].tolist() == [
        [0, 36 * 24, 0],
        [0, 0, 36 * 24],
        [36 * 6, 0, 36 * 18],
    ]


def test_labels_of_places_that_are_no_experts_count_nowhere() -> None:
    tokens_LEG = marked(np.full((2, 4, 2), 500), np.array([2, 4]))
    tokens_LEG[0, 0], tokens_LEG[0, 1] = (900, 100), (100, 900)
    table = specialization.experts_per_domain(tokens_LEG, ["a", "b"]).set_index("domain")
    assert table.experts.tolist() == [1, 1, 0, 4]
    assert table.share["a"] == 1 / 6


def test_tables_are_those_of_every_layer_by_itself(drawn: duckdb.DuckDBPyConnection) -> None:
    tokens_NLE, domain_id_N = arrays.group_array(drawn, queries.trace_info(drawn))
    alone = [of[:, None] for of in of_layers(tokens_NLE, EXPERTS_L)]
    assert [of.shape[2] for of in alone] == [4, 8, 6]
    for make, rows in ((lift_table, 3), (metric_table, 0)):
        whole = make(tokens_NLE, domain_id_N, domains=DOMAINS, experts_L=EXPERTS_L)
        each = [make(of, domain_id_N, domains=DOMAINS) for of in alone]
        assert_equal(whole, each)
        assert len(whole) == (sum(SIZES) * rows or 3 * 11)
    loads = expert_load_table(tokens_NLE, domain_id_N, experts_L=EXPERTS_L)
    assert_equal(loads, [expert_load_table(of, domain_id_N) for of in alone])
    assert len(loads) == sum(SIZES)


def assert_equal(whole: pd.DataFrame, each: list[pd.DataFrame]) -> None:
    assert whole.groupby("layer_id").size().tolist() == list(map(len, each))
    known = [name for name in COLUMNS if name in whole]
    expected = pd.concat(each, ignore_index=True)[known].astype("Float64")
    found = whole[known].astype("Float64")
    assert found.isna().equals(expected.isna())
    assert np.allclose(found.fillna(0).to_numpy(float), expected.fillna(0).to_numpy(float))


def test_counts_of_experts_are_of_those_there_are(drawn: duckdb.DuckDBPyConnection) -> None:
    tokens_NLE, domain_id_N = arrays.group_array(drawn, queries.trace_info(drawn))
    counts = domain_counts(tokens_NLE, domain_id_N, domains=DOMAINS, experts_L=EXPERTS_L)
    rows = counts[counts.domain.isin([*DOMAINS, "too little data", "none"])]
    assert rows.groupby("layer_id").null.sum().to_dict() == pytest.approx(
        {ALL_LAYERS: sum(SIZES), 0: 4, 1: 8, 2: 6}
    )
    tokens_LEG = marked(np.einsum("nle,ng->leg", tokens_NLE, np.eye(3)[domain_id_N]), EXPERTS_L)
    lifts = lift_table(tokens_NLE, domain_id_N, domains=DOMAINS, experts_L=EXPERTS_L)
    assert experts_per_domain(tokens_LEG, lifts, DOMAINS).experts[:-1].sum() == sum(SIZES)
    assert limits(tokens_NLE, domain_id_N, domains=DOMAINS, experts_L=EXPERTS_L) == []
    assert limits(tokens_NLE, domain_id_N, domains=DOMAINS)[0].startswith("6 experts were never")


@pytest.mark.slow
def test_replication_is_of_the_experts_there_are(drawn: duckdb.DuckDBPyConnection) -> None:
    tokens_NLE, domain_id_N = arrays.group_array(drawn, queries.trace_info(drawn))
    padded = np.pad(tokens_NLE, ((0, 0), (0, 0), (0, 3)))
    tables = [
        replication(given, domain_id_N, domains=DOMAINS, experts_L=EXPERTS_L)
        for given in (tokens_NLE, padded)
    ]
    assert tables[0].equals(tables[1])


def test_the_mean_k_counts_tokens_without_an_expert(drawn: duckdb.DuckDBPyConnection) -> None:
    counts = arrays.group_k_array(drawn, queries.trace_info(drawn))
    table = mean_k_table(*counts, domains=DOMAINS, experts_L=EXPERTS_L)
    means = table.groupby("layer_id").null.first().to_dict()
    assert means == {ALL_LAYERS: 1.5, 0: 1, 1: 2, 2: 2 * 18 / 24}


def test_choices_and_pairs_are_of_the_layers_own_experts(
    drawn: duckdb.DuckDBPyConnection,
) -> None:
    chosen_TE, _ = arrays.choice_array(queries.layer_choices(drawn, 2), 6)
    assert chosen_TE.shape == (36 * 18, 6)
    pairs_EE = arrays.pair_array(queries.coactivation(drawn, 2), 6)
    assert pairs_EE.sum() == 2 * 36 * 18
    here_TE, next_TE, _ = arrays.transition_choices(
        queries.layer_choices(drawn, 1), queries.layer_choices(drawn, 2), (8, 6)
    )
    assert (here_TE.shape, next_TE.shape) == ((36 * 18, 8), (36 * 18, 6))
    assert len(queries.transitions(drawn, 0)) == 4 * 8


def test_definitions_are_of_the_layers_own_experts(balanced: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(balanced)
    table = definitions_table(trace_arrays(balanced, info, 0)).set_index(["metric", "variant"])
    assert table.value["MaxVio", OURS] == 0
    assert table.value["balancedness, all layers", CODE].tolist() == [1, 1]
    assert table.value["load-balance loss", OURS] == pytest.approx(1)
    assert "cannot be pooled" in table.reason["load-balance loss", CODE]
    assert table.value["domain specialization, strongest", CODE].item() == pytest.approx(1 / 4)
    later = definitions_table(trace_arrays(balanced, info, 2)).set_index(["metric", "variant"])
    strongest = later.value["domain specialization, strongest", "paper"]
    assert strongest == pytest.approx(2 / 6)  # of the tokens that chose in the layer


def test_maps_and_words_of_uneven_layers(drawn: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(drawn)
    experts = project_experts(drawn, info, seed=0).frame
    assert experts.groupby("layer_id").size().tolist() == [4, 8, 6]
    tokens = project_tokens(drawn, info, seed=0).frame
    assert tokens.expert_2.min() == -1
    assert tokens.text[tokens.position == 0].unique().tolist() == ["<s>"]
    words = vocabulary_rows(drawn, deals=0)
    assert words.n_tokens.tolist() == [36 * 24, 36 * 24, 36 * 18]


def test_the_expected_share_of_a_word_is_of_tokens_that_chose(
    balanced: duckdb.DuckDBPyConnection,
) -> None:
    top = expert_words.expert_top_tokens(balanced, 2, 0)
    assert top.expected.sum() == pytest.approx(36 * 6)  # all choices of the expert


def test_means_leave_out_tokens_without_a_loss(drawn: duckdb.DuckDBPyConnection) -> None:
    known = drawn.execute("SELECT avg(loss), count(loss) FROM token").fetchall()[0]
    table = queries.domain_tokens(drawn)
    assert known[1] == 36 * 23
    assert table.mean_loss.mean() == pytest.approx(known[0])
