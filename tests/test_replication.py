"""Specialists that are there repeat in other documents, luck does not."""

import numpy as np
import pytest

from analysis import replication as module
from analysis.replication import replication
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


def by_check(tokens_NLE, domain_id_N):
    table = replication(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert holds_no_number_that_is_none(table)
    assert list(table.check) == ["split_half", "unseen_documents"]
    return table.set_index("check")


def test_a_planted_specialist_repeats():
    table = by_check(*planted(documents=40))
    assert table.estimate["split_half"] == 1
    assert table.null["split_half"] < 0.2
    assert table.correlation["split_half"] > 0.5
    assert table.estimate["unseen_documents"] == 1
    assert table.null["unseen_documents"] == pytest.approx(1 / 3)
    assert table.specialists["unseen_documents"] == 1
    assert (table.n_documents == 120).all()


def test_shuffled_labels_have_nothing_to_repeat():
    tokens_NLE, domain_id_N = planted(documents=40)
    shuffled_N = np.random.default_rng(1).permutation(domain_id_N)
    table = by_check(tokens_NLE, shuffled_N)
    assert table.estimate.isna().all()
    assert list(table.note) == ["no specialist in any half", "no specialist to judge"]


def test_a_specialist_of_seen_documents_only_fails_on_the_unseen():
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


def test_parts_spread_every_domain():
    domain_id_N = np.repeat([0, 1], [10, 25])
    part_N = module._parts(domain_id_N, count=5, rng=np.random.default_rng(3))
    for domain_id in (0, 1):
        counts = np.bincount(part_N[domain_id_N == domain_id], minlength=5)
        assert np.ptp(counts) == 0


@pytest.mark.parametrize(
    ("domain_id_N", "note"),
    [
        ([0] * 8, "one domain: nothing to compare"),
        ([0] * 6 + [1] * 3, "code has fewer than 4 documents: not enough prompts to say"),
    ],
)
def test_too_little_is_said(domain_id_N, note):
    tokens_NLE = np.ones((len(domain_id_N), 1, 8), int)
    table = by_check(tokens_NLE, np.array(domain_id_N))
    assert set(table.note) == {note}
    assert table.estimate.isna().all()


def test_no_document_is_refused():
    with pytest.raises(ValueError, match="document"):
        replication(np.zeros((0, 1, 8), int), np.zeros(0, int), domains=DOMAINS)
