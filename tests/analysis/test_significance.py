"""Tables of a planted specialist, and of everything that can be missing."""

import numpy as np
import pandas as pd
import pytest

from analysis import significance
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return significance.lift_table(*planted(), domains=DOMAINS)


def test_the_planted_specialist_is_the_only_one(table: pd.DataFrame) -> None:
    found = significance.specialists(table)
    assert found[["expert_id", "domain"]].to_numpy().tolist() == [[5, "code"]]
    assert found.low[0] < found.estimate[0] < found.high[0]
    assert (found.q[0] < 0.001) & (found.n_documents[0] == 30) & bool(found.enough[0])


def test_every_layer_expert_and_domain_is_a_row_and_a_test(table: pd.DataFrame) -> None:
    assert len(table) == significance.family_size(table) == 8 * 3
    assert holds_no_number_that_is_none(table)
    assert (table.smallest_detectable > 0).all()


def test_the_detection_level_divides_found_from_not_found(table: pd.DataFrame) -> None:
    level = significance.detection_level(table)
    assert ((table.p <= level) == (table.q < 0.05)).all()
    nothing = significance.lift_table(*planted(lift=1.0), domains=DOMAINS)
    assert significance.detection_level(nothing) == pytest.approx(0.05 / 24)


def test_few_prompts_cannot_say(table: pd.DataFrame) -> None:
    few = significance.lift_table(*planted(documents=4, lift=1.0), domains=DOMAINS)
    assert (few.note == significance.NOT_ENOUGH).all()
    assert not few.enough.any()
    assert few.low.isna().all()  # an interval needs five documents
    assert few.smallest_detectable.min() > table.smallest_detectable.max()


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


def test_a_domain_of_two_documents_and_one_of_none() -> None:
    tokens_NLE, domain_id_N = planted()
    domain_id_N[:28] = 2  # two of math are left
    domains = (*DOMAINS, "law")
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=domains)
    assert holds_no_number_that_is_none(table)
    math, law = (table[table.domain == name] for name in ("math", "law"))
    assert math.estimate.notna().all()
    assert math.low.isna().all()
    assert set(math.note) == {significance.NOT_ENOUGH}
    assert set(law.note) == {"no document of this domain"}
    (line,) = significance.limits(tokens_NLE, domain_id_N, domains=domains)
    assert line.startswith("math has fewer than 5 documents (2): not enough prompts to say")


def test_dead_experts_and_dead_layers_are_rows_without_figures() -> None:
    tokens_NLE, domain_id_N = planted(documents=6)
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


def test_an_expert_that_avoids_a_domain_has_a_finite_lift_and_no_interval() -> None:
    tokens_NLE, domain_id_N = planted()
    tokens_NLE[domain_id_N == 0, 0, 2] = 0
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    row = table[(table.expert_id == 2) & (table.domain == "math")].iloc[0]
    assert holds_no_number_that_is_none(table)
    assert row.estimate < -8
    assert row.low is pd.NA
    assert row.q < 0.001


def test_every_expert_chosen_by_every_token_has_lift_one() -> None:
    tokens_NLE = np.repeat(np.arange(3, 15), 4).reshape(12, 1, 4)  # k = E
    table = significance.lift_table(tokens_NLE, np.arange(12) % 2, domains=DOMAINS[:2])
    assert table.estimate.abs().max() < 1e-6
    assert table.high.max() < 1e-6
    assert table.p.isna().all()
    assert set(table.note) == {"documents all alike: nothing to test"}


def test_no_tokens_and_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="capture a trace"):
        significance.lift_table(np.zeros((0, 1, 4), int), np.zeros(0, int), domains=DOMAINS)
    with pytest.raises(ValueError, match="3 documents with 2 labels"):
        significance.lift_table(np.ones((3, 1, 4)), np.zeros(2, int), domains=DOMAINS)
