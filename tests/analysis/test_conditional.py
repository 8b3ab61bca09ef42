from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from analysis.conditional import _counts, conditional_information


def nats_by_group(chosen_TE: np.ndarray, id_T: np.ndarray, domain_T: np.ndarray) -> np.ndarray:
    """Of every token, what its choices add, one by one."""
    choices = [(t, e) for t, chosen_E in enumerate(chosen_TE) for e in np.flatnonzero(chosen_E)]
    three = Counter((id_T[t], e, domain_T[t]) for t, e in choices)
    cell = Counter((id_T[t], e) for t, e in choices)
    given = Counter((id_T[t], domain_T[t]) for t, _ in choices)
    alone = Counter(id_T[t] for t, _ in choices)
    nats_T = np.zeros(len(chosen_TE))
    for t, e in choices:
        together = three[id_T[t], e, domain_T[t]] * alone[id_T[t]]
        nats_T[t] += np.log(together / cell[id_T[t], e] / given[id_T[t], domain_T[t]])
    return nats_T


@given(strategies.integers(0, 2**32), strategies.integers(2, 60), strategies.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_counts_are_those_of_choices_one_by_one(seed: int, tokens: int, ids: int) -> None:
    rng = np.random.default_rng(seed)
    chosen_TE = rng.random((tokens, 5)) < 0.4
    chosen_TE[0, 0] = True
    group_T, id_T = rng.integers(0, 6, tokens) * 3, rng.integers(0, ids, tokens) * 7
    domain_N = rng.integers(0, 3, len(np.unique(group_T)))
    place_T = np.unique(group_T, return_inverse=True)[1]
    counts = _counts(chosen_TE, id_T, group_T)
    nats_T = nats_by_group(chosen_TE, id_T, domain_N[place_T])
    domain_T = counts.of_groups(domain_N)
    assert counts.by_group(domain_T) == pytest.approx(np.bincount(place_T, nats_T), abs=1e-9)
    assert counts.estimate(domain_T) == pytest.approx(nats_T.sum() / chosen_TE.sum(), abs=1e-9)
    shuffled_T = counts.shuffle(domain_T, np.random.default_rng(1))
    by_id_T = np.argsort(id_T, kind="stable")
    order_T = np.lexsort((np.random.default_rng(1).random(tokens), id_T))
    assert shuffled_T.tolist() == domain_N[place_T][order_T].tolist()
    assert counts.id_T.tolist() == np.unique(id_T, return_inverse=True)[1][by_id_T].tolist()


def routed_by_token(rng: np.random.Generator, *, domain_effect: float, style: float = 0.0) -> tuple:
    """6,000 tokens of 40 ids that each domain uses unlike the others; one of 8 experts a token."""
    document_T = np.arange(6_000) // 50  # 120 documents
    domain_T = document_T % 3
    use_GV = rng.dirichlet(np.full(40, 0.5), size=3)
    id_T = np.array([rng.choice(40, p=use_GV[g]) for g in domain_T])
    score_TE = 2 * rng.normal(size=(40, 8))[id_T] + rng.gumbel(size=(6_000, 8))
    score_TE += domain_effect * rng.normal(size=(3, 8))[domain_T]
    score_TE += style * rng.normal(size=(120, 8))[document_T]
    return np.eye(8, dtype=bool)[score_TE.argmax(-1)], id_T, document_T, domain_T


def test_nothing_is_left_where_token_identity_alone_drives_routing() -> None:
    chosen_TE, id_T, document_T, domain_T = routed_by_token(
        np.random.default_rng(0), domain_effect=0.0
    )
    found = conditional_information(chosen_TE, id_T, document_T, domain_T)
    assert abs(found.corrected) < 0.004  # nats
    assert found.p > 0.05
    unconditional = conditional_information(chosen_TE, np.zeros_like(id_T), document_T, domain_T)
    assert unconditional.corrected > 0.01  # the same routing, the token not known
    assert unconditional.p < 0.02


def test_a_domain_that_moves_every_token_is_found() -> None:
    chosen_TE, id_T, document_T, domain_T = routed_by_token(
        np.random.default_rng(1), domain_effect=1.0
    )
    found = conditional_information(chosen_TE, id_T, document_T, domain_T)
    assert found.corrected > 0.05
    assert found.p < 0.02


def test_a_domain_that_decides_between_two_experts_tells_ln_2() -> None:
    domain_T = np.arange(4_000) % 2
    chosen_TE = np.eye(2, dtype=bool)[domain_T]
    document_T = np.arange(4_000) // 2 * 2 + domain_T
    found = conditional_information(chosen_TE, np.zeros(4_000, int), document_T, domain_T)
    assert found.plug_in == pytest.approx(np.log(2))
    assert found.null < 0.001


@pytest.mark.slow
def test_documents_with_a_style_of_their_own_are_no_domains() -> None:
    rng = np.random.default_rng(2)
    found = [
        conditional_information(*routed_by_token(rng, domain_effect=0.0, style=1.0))
        for _ in range(10)
    ]
    assert np.mean([one.plug_in - one.null for one in found]) > 0.003  # shuffled tokens are fooled
    assert -0.006 < np.mean([one.corrected for one in found]) < 0.001
    assert sum(one.p < 0.05 for one in found) == 0


def test_a_token_that_always_goes_to_one_expert_leaves_nothing_to_say() -> None:
    id_T = np.arange(40) % 2
    with pytest.raises(ValueError, match="nothing is left"):
        conditional_information(
            np.eye(2, dtype=bool)[id_T], id_T, np.arange(40), np.arange(40) // 20
        )


def test_one_domain_or_no_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="one domain"):
        conditional_information(np.ones((3, 1), bool), np.arange(3), np.arange(3), np.zeros(3, int))
    with pytest.raises(ValueError, match="no routed tokens"):
        conditional_information(np.zeros((3, 2), bool), np.arange(3), np.arange(3), np.arange(3))


def test_the_interval_holds_what_is_true_however_much_chance_takes_off() -> None:
    """Experts 0 and 1 follow the domain, 0.5 ln 2 nats; the ids say nothing."""
    held = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        document_T = np.arange(2_000) // 50
        domain_T = document_T % 2
        expert_T = np.where(rng.random(2_000) < 0.5, domain_T, 2)
        eye, id_T = np.eye(3, dtype=bool), rng.integers(0, 30, 2_000)
        found = conditional_information(eye[expert_T], id_T, document_T, domain_T, permutations=5)
        assert found.low < found.corrected < found.high
        held.append(found.low <= 0.5 * np.log(2) <= found.high)
    assert sum(held) >= 19


def test_the_interval_of_nothing_holds_nothing() -> None:
    rng = np.random.default_rng(2)
    found = conditional_information(*routed_by_token(rng, domain_effect=0.0, style=1.0))
    assert found.p > 0.05
    assert found.low <= 0 <= found.high


def test_few_groups_have_no_interval() -> None:
    domain_T = np.repeat(np.arange(4) % 2, 20)
    expert_T = np.arange(80) % 2
    found = conditional_information(
        np.eye(2, dtype=bool)[expert_T], np.zeros(80, int), np.repeat(np.arange(4), 20), domain_T
    )
    assert np.isnan([found.low, found.high]).all()


def routed_by_source(*, seed: int, style: float) -> tuple[np.ndarray, ...]:
    """6,000 tokens of 120 documents, five each of 24 sources with a style; two domains alike."""
    rng = np.random.default_rng(seed)
    source_T = np.arange(6_000) // 250
    id_T = rng.integers(0, 10, 6_000)
    score_TE = 2 * rng.normal(size=(10, 8))[id_T] + rng.gumbel(size=(6_000, 8))
    score_TE += style * rng.normal(size=(24, 8))[source_T]
    return np.eye(8, dtype=bool)[score_TE.argmax(-1)], id_T, source_T, source_T % 2


def test_sources_with_a_style_of_their_own_are_no_domains_if_they_are_groups() -> None:
    chosen_TE, id_T, source_T, domain_T = routed_by_source(seed=0, style=1.0)
    by_document = conditional_information(chosen_TE, id_T, np.arange(6_000) // 50, domain_T)
    by_source = conditional_information(chosen_TE, id_T, source_T, domain_T)
    assert by_source.plug_in == pytest.approx(by_document.plug_in)
    assert by_document.p == pytest.approx(1 / 51)
    assert by_document.low > 0
    assert by_source.p > 0.05
    assert by_source.low < 0 < by_source.high
    assert by_source.group_excess > by_document.group_excess


def test_one_giant_group_has_no_interval() -> None:
    chosen_TE, id_T, source_T, domain_T = routed_by_source(seed=1, style=0.5)
    known = conditional_information(chosen_TE, id_T, source_T, domain_T, permutations=5)
    assert known.low < known.high
    giant_T = np.where(source_T < 4, source_T % 2, source_T)  # 500 and ten of 250: 10.3
    joined = conditional_information(chosen_TE, id_T, giant_T, domain_T, permutations=5)
    assert joined.low < joined.high
    giant_T = np.where(source_T < 12, source_T % 2, source_T)  # 1,500 and six of 250: 3.4
    giant = conditional_information(chosen_TE, id_T, giant_T, domain_T, permutations=5)
    assert np.isnan([giant.low, giant.high]).all()
    assert giant.plug_in == pytest.approx(known.plug_in)


def test_groups_all_alike_tell_nothing_and_have_no_interval() -> None:
    expert_T, id_T = np.tile([0, 1, 0, 0], 200), np.tile([0, 0, 1, 1], 200)
    document_T = np.arange(800) // 20
    found = conditional_information(
        np.eye(2, dtype=bool)[expert_T], id_T, document_T, document_T % 2
    )
    assert found.plug_in == pytest.approx(0, abs=1e-12)
    assert found.p == 1
    assert np.isnan([found.low, found.high]).all()
