"""Counts of experts by domain: what is planted is sure, what labels give by chance is not."""

import numpy as np
import pandas as pd
import pytest

from analysis import domain_counts as module
from analysis.domain_counts import ALL_LAYERS, domain_counts
from analysis.groups import NOT_ENOUGH
from analysis.specialization import experts_per_domain
from data.labels import ANY
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


def of_all(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = domain_counts(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert holds_no_number_that_is_none(table)
    return table, table[table.layer_id == ALL_LAYERS].set_index("domain")


def test_a_planted_expert_is_counted_and_surely_so() -> None:
    tokens_NLE, domain_id_N = planted(documents=30, lift=4.0)
    _, whole = of_all(tokens_NLE, domain_id_N)
    tokens_LEG = np.einsum("nle,ng->leg", tokens_NLE, np.eye(3)[domain_id_N])
    counted = experts_per_domain(tokens_LEG, DOMAINS).experts.tolist()
    assert counted == [0, 1, 0, 0, 7]
    assert (whole.low["code"], whole.high["code"]) == (1, 1)  # no resample loses it
    assert whole.p["code"] == pytest.approx(1 / 101)
    assert whole.q["code"] == pytest.approx(4 / 101 / 2)  # of code and none, two of four rows
    assert whole.null["code"] == 0
    assert whole.p["math"] == 1
    assert (whole.low[ANY], whole.high[ANY], whole.null[ANY]) == (1, 1, 0)
    assert whole.q[ANY] == whole.p[ANY] == pytest.approx(1 / 101)  # tested by itself
    assert pd.isna(whole.p["too little data"])


def test_shuffled_labels_reach_down_to_no_expert() -> None:
    tokens_NLE, domain_id_N = planted(documents=30)
    shuffled_N = np.random.default_rng(1).permutation(domain_id_N)
    _, whole = of_all(tokens_NLE, shuffled_N)
    assert (whole.p.dropna() > 0.05).all()
    assert whole.low[:3].tolist() == [0, 0, 0]
    assert whole.high["none"] == 8


def test_layers_add_up_and_one_of_a_single_domain_is_left_out() -> None:
    one, domain_id_N = planted(documents=30, lift=4.0)
    tokens_NLE = np.concatenate([one, one, one], 1)
    tokens_NLE[domain_id_N != 0, 1] = 0
    table, whole = of_all(tokens_NLE, domain_id_N)
    assert table.layer_id.unique().tolist() == [ALL_LAYERS, 0, 2]
    assert whole.low["code"] == 2
    assert whole.n_tokens["code"] == 2 * 30 * 300
    assert (table[table.layer_id == 2].p.to_numpy() == table[table.layer_id == 0].p).all()


def test_few_groups_have_a_null_and_the_reason_why_no_more() -> None:
    tokens_NLE, domain_id_N = planted(documents=9)
    table, _ = of_all(tokens_NLE, domain_id_N)
    assert set(table.note) == {
        f"{NOT_ENOUGH} how sure this is: a domain has 9.0 of equal length, and 10 are needed"
    }
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert table.null.notna().all()


def test_one_domain_has_no_row() -> None:
    tokens_NLE, domain_id_N = planted(documents=4)
    assert domain_counts(tokens_NLE, 0 * domain_id_N, domains=DOMAINS).empty


def test_the_mean_over_layers_skips_those_without_a_number() -> None:
    numbers = pd.DataFrame(
        {"estimate": [0.1, 0.3, None], "low": [0.0, 0.2, None], "high": [0.2, 0.4, None]}
    )
    table = numbers.astype("Float64").assign(metric="gini", null=0.0)
    mean = module.mean_over_layers(table, "gini")
    assert mean.round(9).tolist() == [0.2, 0.1, 0.3, 0.0]


TOKENS_LEG = np.array([[[600, 200], [100, 900], [900, 900], [60, 0]]])
LIFTS = pd.DataFrame(
    {
        "layer_id": 0,
        "expert_id": np.repeat([0, 1, 2, 3], 2),
        "domain": ["math", "code"] * 4,
        "estimate": [0.85, -2.3, -2.3, 0.85, 0.0, 0.9, 0.9, -2.3],
        "low": [0.5, -3.0, -3.0, None, -0.1, 0.2, 0.2, -3.0],
        "q": [0.01, 0.01, 0.01, 0.9, 0.9, 0.01, 0.01, 0.01],
        "note": ["", "", "", NOT_ENOUGH, NOT_ENOUGH, "", "", ""],
        "n_groups": [19, 18] * 4,
    }
)


def test_a_preference_is_a_lift_and_a_share_of_choices() -> None:
    rows = module.preferences(TOKENS_LEG, ("math", "code"))
    assert rows.expert_id.tolist() == [0, 1]  # 2 has none, 3 is chosen too rarely
    assert rows.domain.tolist() == ["math", "code"]
    assert rows.share.tolist() == [0.75, 0.9]
    assert rows.lift.tolist() == pytest.approx([0.75 * 3660 / 1660, 0.9 * 3660 / 2000])


def test_only_experts_counted_for_a_domain_are_significant_or_undecided_there() -> None:
    table = module.experts_per_domain(TOKENS_LEG, LIFTS, ("math", "code")).set_index("domain")
    assert table.index.tolist() == ["math", "code", "too little data", "none", ANY]
    assert table.experts.tolist() == [1, 1, 1, 1, 2]
    assert table.significant.tolist()[:2] == [1, 0]  # 2 and 3 are so too, but counted elsewhere
    assert table.not_enough.tolist()[:2] == [0, 1]
    assert table.n_groups.tolist()[:2] == [19, 18]
    assert table.median_share.tolist()[:2] == [0.75, 0.9]
    assert table.loc["none"].isna().sum() == table.loc["too little data"].isna().sum() == 6
    whole = table[table.index == ANY].iloc[0]
    assert whole.median_share == pytest.approx(0.825)
    assert (whole.above_half, whole.significant, whole.n_groups) == (2, 1, 37)


def test_a_domain_that_no_expert_prefers_has_counts_of_none_and_no_median() -> None:
    even_LEG = np.full((1, 4, 2), 300)
    table = module.experts_per_domain(even_LEG, LIFTS, ("math", "code")).set_index("domain")
    whole = table[table.index == ANY].iloc[0]
    assert (whole.experts, whole.above_half, whole.significant) == (0, 0, 0)
    assert table.median_share.isna().all()


def test_by_layer_the_medians_are_of_the_layer() -> None:
    two_LEG = np.concatenate([TOKENS_LEG, TOKENS_LEG[:, ::-1]])
    lifts = pd.concat([LIFTS, LIFTS.assign(layer_id=1)])
    table = module.experts_per_domain_by_layer(two_LEG, lifts, ("math", "code"))
    math = table[table.domain == "math"]
    assert math.layer_id.tolist() == [0, 1]
    assert math.median_share.tolist() == [0.75, 0.75]
    assert math.significant.tolist() == [1, 1]  # in layer 1 it is expert 3
    assert ANY not in table.domain.to_numpy()
