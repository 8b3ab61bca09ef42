"""Tables of a planted specialist, and of everything that can be missing."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis import significance
from analysis.groups import NOT_ENOUGH
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return significance.lift_table(*planted(), domains=DOMAINS)


def test_the_planted_specialist_is_the_only_one(table: pd.DataFrame) -> None:
    found = significance.specialists(table)
    assert found[["expert_id", "domain"]].to_numpy().tolist() == [[5, "code"]]
    assert found.low[0] < found.estimate[0] < found.high[0]
    assert (found.q[0] < 0.001) & (found.n_groups[0] == 30) & bool(found.enough[0])


def test_every_layer_expert_and_domain_is_a_row_and_a_test(table: pd.DataFrame) -> None:
    assert len(table) == significance.family_size(table) == 8 * 3
    assert holds_no_number_that_is_none(table)
    assert (table.smallest_detectable > 0).all()


def test_the_detection_level_divides_found_from_not_found(table: pd.DataFrame) -> None:
    level = significance.detection_level(table)
    assert ((table.p <= level) == (table.q < 0.05)).all()
    nothing = significance.lift_table(*planted(lift=1.0), domains=DOMAINS)
    assert significance.detection_level(nothing) == pytest.approx(0.05 / 24)


def test_few_groups_cannot_say(table: pd.DataFrame) -> None:
    few = significance.lift_table(*planted(documents=9), domains=DOMAINS)
    assert (few.note == NOT_ENOUGH).all()
    assert not few.enough.any()
    assert few.estimate.notna().all()
    assert few[["low", "p", "q", "smallest_detectable"]].isna().all(axis=None)
    just = significance.lift_table(*planted(documents=12, lift=1.0), domains=DOMAINS)
    assert just[["low", "p", "q"]].notna().all(axis=None)
    assert just.smallest_detectable.min() > table.smallest_detectable.max()


def test_many_domains_with_too_few_texts_have_one_line() -> None:
    tokens_NLE, names = np.ones((5, 1, 4), int), ("a", "b", "c", "d")
    (line,) = significance.limits(tokens_NLE, np.array([0, 0, 1, 2, 3]), domains=names)
    assert line == (
        "a, b, c, d have 1 to 2 independent texts each, as good as 2.0 of equal length; 10 are "
        "needed: not enough independent texts to say. They have no intervals and no tests."
    )


def test_a_giant_group_of_a_domain_leaves_it_out_and_the_others_in() -> None:
    tokens_NLE, domain_id_N = planted()
    tokens_NLE[0] *= 20  # math counts as (29 + 20)^2 / (29 + 400) = 5.6 groups
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    few, code = (table[table.domain == name] for name in ("math", "code"))
    assert few[["low", "p", "q"]].isna().all(axis=None)
    assert set(few.note) == {NOT_ENOUGH}
    assert code[["low", "p", "q"]].notna().all(axis=None)
    (line,) = significance.limits(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert line.startswith("math has 30 independent texts, as good as 5.6 of equal length")


def test_long_groups_elsewhere_widen_the_interval_of_a_lift(table: pd.DataFrame) -> None:
    """The corpus is then that of few texts, also for a domain that has none of them."""
    tokens_NLE, domain_id_N = planted()
    tokens_NLE[60:64] *= 20
    of_few = significance.lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    widths, before = (of.high - of.low for of in (of_few, table))
    assert (widths[of_few.domain == "code"] > before[table.domain == "code"]).all()


def test_a_perfect_specialist_of_each_domain_is_found() -> None:
    """Each takes all of its domain and nothing else: no group differs, so no interval."""
    domain_id_N = np.repeat(np.arange(3), 12)
    tokens_NLE = 100 * np.eye(3, dtype=int)[domain_id_N][:, None]
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    found = significance.specialists(table).sort_values("expert_id")
    assert found.expert_id.tolist() == [0, 1, 2]
    assert found.domain.tolist() == list(DOMAINS)
    assert found.estimate.tolist() == pytest.approx([np.log2(1200.5 / 400.5)] * 3)
    one_of_all_labels = 1 / math.comb(36, 12)
    assert found.p.tolist() == pytest.approx([one_of_all_labels] * 3)
    assert found.q.tolist() == pytest.approx([one_of_all_labels] * 3)  # all nine cells are as clear
    assert found.low.isna().all()
    assert set(found.note) == {"texts all alike: no interval"}


def test_forty_identical_groups_have_no_interval_and_no_q() -> None:
    tokens_NLE = np.tile([[5, 3, 1]], (40, 1, 1))
    table = significance.lift_table(tokens_NLE, np.arange(40) % 2, domains=DOMAINS[:2])
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {"texts all alike: nothing to test"}
    assert not table.enough.any()


def test_one_domain_has_no_lift_and_says_so() -> None:
    tokens_NLE, domain_id_N = planted(documents=5)
    only = significance.lift_table(tokens_NLE, np.zeros_like(domain_id_N), domains=("unlabelled",))
    assert only[["estimate", "low", "p", "q", "smallest_detectable"]].isna().all(axis=None)
    assert set(only.note) == {"one domain: nothing to compare"}
    (line,) = significance.limits(tokens_NLE, np.zeros_like(domain_id_N), domains=("unlabelled",))
    assert "one domain" in line


def test_one_document_and_one_token() -> None:
    one = significance.lift_table(np.array([[[1, 0]]]), np.array([0]), domains=("math",))
    assert holds_no_number_that_is_none(one)
    assert one.estimate.isna().all()


def test_a_domain_of_two_groups_and_one_of_none() -> None:
    tokens_NLE, domain_id_N = planted()
    domain_id_N[:28] = 2  # two of math are left
    domains = (*DOMAINS, "law")
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=domains)
    assert holds_no_number_that_is_none(table)
    two, law = (table[table.domain == name] for name in ("math", "law"))
    assert two.estimate.notna().all()
    assert two[["low", "p"]].isna().all(axis=None)
    assert set(two.note) == {NOT_ENOUGH}
    assert set(law.note) == {"no text of this domain"}
    (line,) = significance.limits(tokens_NLE, domain_id_N, domains=domains)
    assert line.startswith(
        "math has 2 independent texts, as good as 2.0 of equal length; 10 are needed: " + NOT_ENOUGH
    )


def test_dead_experts_and_dead_layers_are_rows_without_figures() -> None:
    tokens_NLE, domain_id_N = planted(documents=12)
    tokens_NLE[..., 7] = 0
    tokens_NLE = np.concatenate([tokens_NLE, np.zeros_like(tokens_NLE)], 1)
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert holds_no_number_that_is_none(table)
    dead = table[(table.expert_id == 7) | (table.layer_id == 1)]
    assert dead.estimate.isna().all()
    assert set(dead.note) == {"never chosen"}
    assert significance.family_size(table) == 7 * 3
    layer, expert = significance.limits(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert layer.startswith("No token was routed in layer 1")
    assert expert.startswith("1 expert ")


def test_an_expert_that_avoids_a_domain_has_a_finite_lift_and_interval() -> None:
    tokens_NLE, domain_id_N = planted()
    tokens_NLE[domain_id_N == 0, 0, 2] = 0
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    row = table[(table.expert_id == 2) & (table.domain == "math")].iloc[0]
    assert holds_no_number_that_is_none(table)
    assert row.estimate < -8
    assert row.low < row.estimate < row.high < -5
    assert row.q < 0.001  # every group of the others chooses it
    only_few = tokens_NLE.copy()
    only_few[domain_id_N == 1, 0, 2] *= (np.arange((domain_id_N == 1).sum()) % 10 == 0) * 10
    table_of_few = significance.lift_table(only_few, domain_id_N, domains=DOMAINS)
    few = table_of_few[(table.expert_id == 2) & (table.domain == "math")].iloc[0]
    assert few.q > 0.05  # math may have missed the groups that choose it most
    # expert 5 is chosen more rarely than expected in other, but not never
    rarely = table[(table.expert_id == 5) & (table.domain == "other")].iloc[0]
    assert rarely.estimate < -0.5
    assert rarely.q < 0.001


def test_every_expert_chosen_by_every_token_has_lift_one() -> None:
    """Groups of unequal length, whose thirds float64 does not hold."""
    tokens_NLE = np.repeat(np.arange(30, 70), 3).reshape(40, 1, 3)  # k = E
    table = significance.lift_table(tokens_NLE, np.arange(40) % 2, domains=DOMAINS[:2])
    assert table.estimate.abs().max() < 1e-6
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {"texts all alike: nothing to test"}


def test_no_tokens_and_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="capture a trace"):
        significance.lift_table(np.zeros((0, 1, 4), int), np.zeros(0, int), domains=DOMAINS)
    with pytest.raises(ValueError, match="3 groups with 2 labels"):
        significance.lift_table(np.ones((3, 1, 4)), np.zeros(2, int), domains=DOMAINS)
