"""docs/metrics.md and the code name the same metrics."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from analysis import (
    asked,
    brush,
    causes,
    chance,
    coactivation,
    comparison,
    conditional,
    controls,
    definitions,
    diagnostics,
    domain_counts,
    emergence,
    esft,
    excess,
    expert_clusters,
    experts_per_token,
    gate_entropy,
    halves,
    load,
    map_labels,
    pairs,
    projection,
    rank_tests,
    redundancy,
    replication,
    saturation,
    specialization,
    stability,
    token_diff,
    transitions,
    vocabulary,
    word_experts,
)
from analysis.differences import differences, figure_differences, table_differences
from analysis.lists import coverage, drift, merge_pairs
from analysis.lists import lists as expert_lists
from analysis.matching import experts as expert_matching
from analysis.matching import flip_tables, flip_tokens, flips
from analysis.matching import texts as matched_texts
from analysis.offload import table as offload_table
from analysis.placement import costs as placement_costs
from analysis.placement import policies as placement_policies

DOCUMENT = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
FIELDS = ("Formula", "Range", "Null", "Source", "SQL")
METRICS = (
    brush,
    causes,
    chance,
    coactivation,
    comparison,
    conditional,
    controls,
    coverage,
    definitions,
    diagnostics,
    differences,
    domain_counts,
    drift,
    emergence,
    esft,
    expert_clusters,
    expert_lists,
    expert_matching,
    experts_per_token,
    figure_differences,
    flip_tables,
    flip_tokens,
    flips,
    gate_entropy,
    halves,
    load,
    map_labels,
    offload_table,
    merge_pairs,
    pairs,
    placement_costs,
    placement_policies,
    rank_tests,
    redundancy,
    replication,
    saturation,
    specialization,
    stability,
    table_differences,
    token_diff,
    transitions,
    vocabulary,
    word_experts,
)
TABLES = {  # the same metrics, collected
    "is_low_resource",
    "saturation_table",
    "half_sums",
    "subject_of",
    "of_all_layers",
    "tokens_by_domain",
    "vocabulary_table",
    "vocabulary_summary",
    "experts_per_domain_by_layer",
    "compared_layers",
    "verdict",
    "estimate_row",
    "label_names",
    "absence",
    "claim_controls",
    "random_order",
    "standing",
    "change_figures",
    "typed",
    "by_domain",
    "with_q",
    "layer_clusters",
    "busiest_of_layers",
    "node_pair_traffic",
    "known_policies",
    "rounding_types",
    "require_same_shape",
    "amounts",
    "flips",
    "text_sample",
    "enough_places",
    "assigned",
    "renamed",
    "match_table",
    "chosen",
    "columns",
    "text_choices",
    "freedom_of",
    "frequent",
    "middles",
}


def public_functions(module: ModuleType) -> list[str]:
    members = inspect.getmembers(module, inspect.isfunction)
    own = [name for name, function in members if function.__module__ == module.__name__]
    return [name for name in own if not name.startswith("_")]


def entries() -> dict[str, str]:
    parts = re.split(r"^#{2,3} ", DOCUMENT, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part for part in parts}


@pytest.mark.parametrize("module", METRICS, ids=lambda module: module.__name__)
def test_every_metric_has_an_entry(module: ModuleType) -> None:
    assert set(public_functions(module)) - TABLES <= entries().keys()


def test_every_entry_is_a_metric_with_all_its_fields() -> None:
    known = {name for module in METRICS for name in public_functions(module)}
    known |= {"agreement", "expert_load_table", "lift_table", "metric_table", "vocabulary_tests"}
    known |= {"transition_lift"}  # a column of transition_significance
    described = {name: entry for name, entry in entries().items() if "\n- Formula: " in entry}
    assert described.keys() <= known
    for name, entry in described.items():
        assert all(f"\n- {field}: " in entry for field in FIELDS), name


@pytest.mark.parametrize("question", sorted(asked.SQL.glob("*.sql")), ids=lambda path: path.stem)
def test_every_query_is_linked(question: Path) -> None:
    assert f"(../analysis/sql/{question.name})" in DOCUMENT


def test_every_link_leads_to_a_query() -> None:
    for name in re.findall(r"`?(\w+\.sql)`?", DOCUMENT):
        assert (asked.SQL / name).is_file(), name


def test_the_thresholds_are_those_of_the_code() -> None:
    assert f"lift is ≥ {specialization.MIN_LIFT}" in DOCUMENT
    assert f"≥ {specialization.MIN_MARGIN} times the second" in DOCUMENT
    assert f"`n_eg ≥ {specialization.MIN_DOMAIN_TOKENS}`" in DOCUMENT
    assert f"`n_e ≥ {specialization.MIN_PROFILE_TOKENS}`" in DOCUMENT
    assert f"{specialization.MIN_DIVERGENCE} bits away" in DOCUMENT
    assert f"expected in fewer than {excess.MIN_EXPECTED} tokens" in DOCUMENT
    assert f"fewer than {vocabulary.MIN_OCCURRENCES} occurrences" in DOCUMENT
    assert f"to n = {vocabulary.MAX_EXACT}" in DOCUMENT
    assert f"{projection.LANDMARKS:,} points" in DOCUMENT
    assert f"{projection.MOST_TOKENS:,} tokens" in DOCUMENT
    assert f"at least {expert_clusters.MIN_CHOICES} choices of token ids that count" in DOCUMENT
    assert f"in at least {expert_clusters.MIN_GROUPS} groups of texts" in DOCUMENT
    assert f"and at most {expert_clusters.MAX_CLUSTERS}" in DOCUMENT
    assert f"until they hold {expert_clusters.MAX_TOKENS:,}" in DOCUMENT
    assert f"permuted {expert_clusters.PERMUTATIONS} times" in DOCUMENT
    assert f"{matched_texts.MAX_DECISIONS:,} decisions" in DOCUMENT
    assert f"{matched_texts.MAX_CHOICES:,} choices" in DOCUMENT
    assert f"until they hold {expert_matching.MAX_PLACES:,} tokens" in DOCUMENT
    assert f"{expert_matching.MAX_PAIRS:,} pairs of choices" in DOCUMENT
    assert f"over {expert_matching.DRAWS} or more" in DOCUMENT
    assert f"largest of {expert_matching.SHIFTS} values" in DOCUMENT
    assert f"the {flip_tokens.MOST_TOKENS} tokens that flip in most layers" in DOCUMENT
