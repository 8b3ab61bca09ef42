"""Specialists that are there repeat in other texts, luck does not."""

import numpy as np
import pandas as pd
import pytest

from analysis import replication as module
from analysis.groups import NOT_ENOUGH
from analysis.replication import replication
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


def by_check(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> pd.DataFrame:
    table = replication(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert holds_no_number_that_is_none(table)
    assert list(table.check) == ["split_half", "unseen_documents"]
    return table.set_index("check")


@pytest.mark.slow
def test_a_planted_specialist_repeats() -> None:
    table = by_check(*planted(documents=40))
    assert table.estimate["split_half"] == 1
    assert table.null["split_half"] < 0.2
    assert table.correlation["split_half"] > 0.5
    assert table.estimate["unseen_documents"] == 1
    assert table.null["unseen_documents"] == pytest.approx(1 / 3)
    assert table.specialists["unseen_documents"] == 1
    assert (table.n_groups == 120).all()
    assert (table.n_tokens == 120 * 300).all()
    assert table.p["split_half"] == pytest.approx(1 / 201)
    assert table.p["unseen_documents"] < 0.03  # five times right of three domains: 1 in 243
    assert table.q.max() == table.p.max()  # the larger of two stays, the smaller at most doubles


@pytest.mark.slow
def test_shuffled_labels_have_nothing_to_repeat() -> None:
    tokens_NLE, domain_id_N = planted(documents=40)
    shuffled_N = np.random.default_rng(1).permutation(domain_id_N)
    table = by_check(tokens_NLE, shuffled_N)
    assert table.estimate.isna().all()
    assert list(table.note) == ["no specialist in any half", "no specialist to judge"]


@pytest.mark.slow
def test_a_specialist_of_seen_documents_only_fails_on_the_unseen() -> None:
    """In each fold the expert is code's in what is seen and math's in what is left out."""
    tokens_NLE, domain_id_N = planted(documents=40, lift=6.0)
    fold_N = module._parts(domain_id_N, count=module.FOLDS, rng=np.random.default_rng(0))
    moved = tokens_NLE.copy()
    left_out = fold_N == 0
    moved[left_out & (domain_id_N == 1), 0, 5] = 0
    moved[left_out & (domain_id_N == 0), 0, 5] = 300
    table = by_check(moved, domain_id_N)
    assert table.estimate["unseen_documents"] == pytest.approx(0.8)
    assert table.low["unseen_documents"] < 0.8


def test_lifts_of_halves_with_nothing_in_common_have_a_large_p() -> None:
    tokens_NLE, domain_id_N = planted(documents=40)
    first_C = np.random.default_rng(5).normal(size=24)
    lift_PLEG = module._permuted_lifts(tokens_NLE, domain_id_N, num_domains=3, seed=0)
    found_P = module._correlations(first_C, lift_PLEG)
    assert len(found_P) == 201
    assert module._rank_p(found_P) > 0.05
    found_P = module._correlations(lift_PLEG[0].ravel(), lift_PLEG)
    assert found_P[0] == pytest.approx(1)
    assert module._rank_p(found_P) == pytest.approx(1 / 201)


def test_parts_spread_every_domain() -> None:
    domain_id_N = np.repeat([0, 1], [10, 25])
    part_N = module._parts(domain_id_N, count=5, rng=np.random.default_rng(3))
    for domain_id in (0, 1):
        counts = np.bincount(part_N[domain_id_N == domain_id], minlength=5)
        assert np.ptp(counts) == 0


@pytest.mark.parametrize(
    ("domain_id_N", "note"),
    [
        ([0] * 8, "one domain: nothing to compare"),
        ([0] * 19 + [1] * 19, f"no domain counts as 20 independent texts: {NOT_ENOUGH}"),
    ],
)
def test_too_little_is_said(domain_id_N: list[int], note: str) -> None:
    tokens_NLE = np.ones((len(domain_id_N), 1, 8), int)
    table = by_check(tokens_NLE, np.array(domain_id_N))
    assert set(table.note) == {note}
    assert table.estimate.isna().all()


def test_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match="capture a trace"):
        replication(np.zeros((0, 1, 8), int), np.zeros(0, int), domains=DOMAINS)
