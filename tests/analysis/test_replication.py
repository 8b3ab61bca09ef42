"""Specialists that are there repeat in other texts, luck does not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import replication as module
from analysis.groups import NOT_ENOUGH
from analysis.influence import log_lift
from analysis.permutation import permuted_labels
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
    labels_PN = permuted_labels(domain_id_N, permutations=module.PERMUTATIONS)
    first_LEG = np.random.default_rng(5).normal(size=(1, 8, 3))
    found_P = module._correlations(first_LEG, tokens_NLE, labels_PN)
    assert len(found_P) == 201
    assert module._rank_p(found_P) > 0.05
    own_EG = log_lift(tokens_NLE[:, 0].T @ np.eye(3)[domain_id_N])
    found_P = module._correlations(own_EG[None], tokens_NLE, labels_PN)
    assert found_P[0] == pytest.approx(1)
    assert module._rank_p(found_P) == pytest.approx(1 / 201)


def test_correlations_are_of_the_ranks_of_lifts_that_all_permutations_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead expert, a layer whose tokens are of few groups, ties; permutations a few at a time."""
    rng = np.random.default_rng(0)
    domain_id_N = np.arange(24) % 3
    tokens_NLE = rng.poisson(2, (24, 3, 5))
    tokens_NLE[:, 0, 4], tokens_NLE[3:, 1] = 0, 0
    labels_PN = permuted_labels(domain_id_N, permutations=9)
    first_LEG = rng.normal(size=(3, 5, 3)).round(1)
    monkeypatch.setattr(module, "TOGETHER", 3 * first_LEG.size)
    found_P = module._correlations(first_LEG, tokens_NLE, labels_PN)
    lift_PLEG = np.array(
        [
            [log_lift(of_NE.T @ np.eye(3)[labels_N]) for of_NE in tokens_NLE.swapaxes(0, 1)]
            for labels_N in labels_PN
        ]
    )
    known_LEG = ~np.isnan(lift_PLEG).any(0)
    assert not known_LEG[1].any()
    known = [stats.spearmanr(first_LEG[known_LEG], of[known_LEG])[0] for of in lift_PLEG]
    assert found_P == pytest.approx(known, abs=1e-12)


def test_lifts_of_some_experts_are_those_of_all() -> None:
    tokens_NLE, domain_id_N = planted(documents=12)
    labels_PN = permuted_labels(domain_id_N, permutations=4)
    some = module._permuted_lifts(tokens_NLE, labels_PN, (np.zeros(2, int), np.array([2, 5])), 3)
    for lift_SG, labels_N in zip(some, labels_PN, strict=True):
        lift_EG = log_lift(tokens_NLE[:, 0].T @ np.eye(3)[labels_N])
        assert lift_SG == pytest.approx(lift_EG[[2, 5]], abs=1e-12)


def test_experts_a_few_at_a_time_prefer_what_all_at_once_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens_NLE, domain_id_N = planted(documents=12)
    labels_PN = permuted_labels(domain_id_N, permutations=4)
    named = np.zeros(8, int), np.arange(8)
    lift_PSG = module._permuted_lifts(tokens_NLE, labels_PN, named, 3)
    monkeypatch.setattr(module, "TOGETHER", 3 * 5 * 3)  # of three experts
    preferred_PS = module._preferred(tokens_NLE, labels_PN, named, 3)
    assert preferred_PS.tolist() == lift_PSG.argmax(-1).tolist()


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
