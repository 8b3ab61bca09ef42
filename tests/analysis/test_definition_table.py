from dataclasses import replace

import numpy as np
import pytest

from analysis.definition_table import CODE, OURS, PAPER, TraceArrays, definitions_table

# Two documents of two tokens, one layer: 0, 1, 2 and 0, 2, 1, then 0, 1, 3 and 0, 3, 1 by rank.
TRACE = TraceArrays(
    layer_id=0,
    tokens_NLE=np.array([[[2, 2, 2, 0]], [[2, 2, 0, 2]]]),
    domain_id_N=np.array([0, 1]),
    tokens_N=np.array([2, 2]),
    first_tokens_VE=np.array([[3, 0, 0, 0], [0, 1, 0, 0]]),
    next_tokens_VE=np.array([[1, 0, 0, 0], [1, 1, 0, 0]]),
    pairs_EE=np.array([[0, 4, 2, 2], [4, 0, 2, 2], [2, 2, 0, 0], [2, 2, 0, 0]]),
    ids_TK=np.array([[0, 1, 2], [0, 2, 1], [0, 1, 3], [0, 3, 1]]),
    weights_NLE=np.array([[[1.2, 0.4, 0.4, 0]], [[1.2, 0.4, 0, 0.4]]]),
    experts_L=np.array([4]),
)

NO_PREDICTIONS = "a trace holds no logits, so the predicted token is unknown"
NO_SNAPSHOTS = "no routing snapshots in a trace; the page Training has them"


def values(trace: TraceArrays, metric: str) -> dict:
    table = definitions_table(trace)
    return table[table.metric.str.startswith(metric)].set_index("variant").value.to_dict()


def reasons(trace: TraceArrays) -> set[str]:
    table = definitions_table(trace)
    assert (table.value.isna() == (table.reason != "")).all()
    assert not any("nan" in str(value) for value in table.value)
    return set(table.reason) - {""}


def test_every_definition_of_a_small_layer_has_a_value_except_rare_vocabulary_and_training() -> (
    None
):
    assert reasons(TRACE) == {"no token id occurs 10 times", NO_PREDICTIONS, NO_SNAPSHOTS}


def test_vocabulary_by_the_input_the_next_and_the_predicted_token() -> None:
    table = definitions_table(TRACE)
    rows = table[(table.metric == "vocabulary specialization") & (table.variant == CODE)]
    tokens = [formula.partition(":")[0] for formula in rows.formula]
    assert tokens == ["input token", "next token", "predicted token"]
    assert rows.value[:2].tolist() == [1.0, 0.75]
    assert rows.reason.tolist() == ["", "", NO_PREDICTIONS]


def test_the_variants_differ_as_documented() -> None:
    assert values(TRACE, "co-activation") == {PAPER: 1.0, CODE: 1.0, OURS: 1.0}
    assert values(TRACE, "lift")[OURS] == pytest.approx(9 / 8)  # 0 and 1: 1 / (8/9)
    assert values(TRACE, "domain")[PAPER] == 1.0
    assert values(TRACE, "domain")[CODE] == pytest.approx(1 / 3)
    assert values(TRACE, "domain")[OURS] == 2.0  # expert 2 works for one of two equal domains
    assert values(TRACE, "load-balance") == pytest.approx(
        {PAPER: 4 * (0.6 / 3 + 0.2 / 3 + 0.2 / 6), CODE: 1.2, OURS: 1.2}
    )


def test_ids_only_have_no_gate_score_and_no_loss() -> None:
    found = definitions_table(replace(TRACE, weights_NLE=None))
    empty = set(found[found.value.isna()].metric)
    assert empty == {
        "experts selected by gate score, p = 0.2",
        "load-balance loss",
        "router saturation",
        "vocabulary specialization",
    }
    assert any("ids only" in reason for reason in found.reason)


def test_what_a_trace_lacks_is_one_line_each() -> None:
    bare = replace(TRACE, ids_TK=None, pairs_EE=np.zeros((4, 4), int))
    assert {"k varies from token to token: ranks cannot be compared", NO_SNAPSHOTS} < reasons(bare)
    assert "one domain: a lift compares domains" in reasons(
        replace(bare, domain_id_N=np.zeros(2, int))
    )


def test_an_empty_layer_has_reasons_only() -> None:
    nothing = replace(
        TRACE,
        tokens_NLE=np.zeros((1, 1, 4), int),
        weights_NLE=np.zeros((1, 1, 4)),
        domain_id_N=np.zeros(1, int),
        tokens_N=np.ones(1, int),
        first_tokens_VE=np.zeros((2, 4), int),
        next_tokens_VE=np.zeros((0, 4), int),
        pairs_EE=np.zeros((4, 4), int),
    )
    reasons(nothing)
