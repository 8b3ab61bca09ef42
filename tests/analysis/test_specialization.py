"""Two experts and two domains: a layer that shares everything, a layer that splits it."""

import numpy as np
import pytest

from analysis import specialization
from analysis.distinct import divergence
from analysis.specialization import NO_DOMAIN, TOO_FEW

SHARED = [[5, 5], [5, 5]]
SPLIT = [[10, 0], [0, 10]]
TOKENS_LEG = np.array([SHARED, SPLIT])


def test_domain_share_is_of_the_expert() -> None:
    assert specialization.domain_share(np.array([[[3, 1], [0, 0]]]))[0, 0].tolist() == [0.75, 0.25]


def test_a_dead_expert_has_no_share_no_lift_and_no_divergence() -> None:
    tokens_LEG = np.array([[[3, 1], [0, 0]]])
    assert np.isnan(specialization.domain_share(tokens_LEG)[0, 1]).all()
    assert np.isnan(specialization.domain_lift(tokens_LEG)[0, 1]).all()
    assert np.isnan(specialization.jensen_shannon(tokens_LEG)[0, 1])


def test_corpus_share_adds_the_experts() -> None:
    assert specialization.corpus_share(np.array([[[3, 1], [0, 4]]])).tolist() == [[0.375, 0.625]]


def test_lift_is_relative_to_an_unbalanced_corpus() -> None:
    nine_to_one = np.array([[[90, 10], [90, 10], [0, 0]]])
    assert specialization.domain_lift(nine_to_one)[0, 0].tolist() == [1.0, 1.0]
    assert specialization.domain_lift(TOKENS_LEG)[1].tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_lift_of_a_domain_without_tokens_is_undefined() -> None:
    assert np.isnan(specialization.domain_lift(np.array([[[4, 0]]]))[0, 0, 1])


def test_jensen_shannon() -> None:
    # (1, 0) against (1/2, 1/2): the middle (3/4, 1/4) has 0.8113 bits, the two 0 and 1 bit
    divergence_LE = specialization.jensen_shannon(TOKENS_LEG)
    assert divergence_LE[0].tolist() == [0.0, 0.0]
    assert divergence_LE[1].tolist() == pytest.approx([0.3113, 0.3113], abs=1e-4)


def test_mutual_information_is_the_entropy_of_the_domain_when_experts_split_the_domains() -> None:
    assert specialization.mutual_information(TOKENS_LEG).tolist() == pytest.approx([0, np.log(2)])
    assert specialization.information_share(TOKENS_LEG).tolist() == pytest.approx([0, 1])


def test_mutual_information_is_the_mean_divergence_of_experts_from_the_corpus() -> None:
    tokens_LEG = np.array([[[30, 10], [5, 15]]])
    share_EG = np.array([[0.75, 0.25], [0.25, 0.75]])
    corpus_G = np.array([35, 25]) / 60
    divergence_E = (share_EG * np.log(share_EG / corpus_G)).sum(-1)
    expected = (40 * divergence_E[0] + 20 * divergence_E[1]) / 60
    assert specialization.mutual_information(tokens_LEG)[0] == pytest.approx(expected)


def random_choices(*, num_experts: int, top_k: int, num_domains: int, tokens: int) -> np.ndarray:
    """tokens_LEG of 30 layers that choose uniformly, k different experts a token."""
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(30):
        ids_TK = rng.random((tokens, num_experts)).argsort(-1)[:, :top_k]
        domain_T = np.arange(tokens) % num_domains
        tokens_EG = np.zeros((num_experts, num_domains))
        np.add.at(tokens_EG, (ids_TK, domain_T[:, None]), 1)
        chosen.append(tokens_EG)
    return np.array(chosen)


def test_the_mutual_information_of_a_random_router_is_that_of_its_formula() -> None:
    tokens_LEG = random_choices(num_experts=8, top_k=2, num_domains=4, tokens=4000)
    measured = specialization.mutual_information(tokens_LEG).mean()
    assert measured == pytest.approx((8 - 2) * (4 - 1) / (2 * 2 * 4000), rel=0.2)


@pytest.mark.parametrize("top_k", [1, 2, 4, 6])
def test_the_divergence_of_a_random_router_is_that_of_its_formula(top_k: int) -> None:
    tokens_LEG = random_choices(num_experts=8, top_k=top_k, num_domains=6, tokens=4000)
    choices = 4000 * top_k / 8
    null = (8 - top_k) * (6 - 1) / (8 * 8 * choices * np.log(2))
    assert specialization.jensen_shannon(tokens_LEG).mean() == pytest.approx(null, rel=0.12)


@pytest.mark.parametrize("top_k", [1, 4, 6])
def test_two_experts_of_a_random_router_lie_as_far_apart_as_the_formula_says(top_k: int) -> None:
    tokens_LEG = random_choices(num_experts=8, top_k=top_k, num_domains=6, tokens=4000)
    share_LEG = specialization.domain_share(tokens_LEG)
    between = [
        divergence(share_EG[a], share_EG[b])
        for share_EG in share_LEG
        for a in range(8)
        for b in range(a)
    ]
    null = (8 - top_k) * (6 - 1) / (4 * (8 - 1) * 4000 * top_k / 8 * np.log(2))
    assert np.mean(between) == pytest.approx(null, rel=0.12)


@pytest.mark.parametrize("top_k", [1, 6])
def test_the_lift_of_a_random_router_spreads_as_the_formula_says(top_k: int) -> None:
    tokens_LEG = random_choices(num_experts=8, top_k=top_k, num_domains=6, tokens=4000)
    spread = np.sqrt((1 - 1 / 6) / (4000 * top_k / 8 / 6) * (8 - top_k) / 8)
    assert specialization.domain_lift(tokens_LEG).std() == pytest.approx(spread, rel=0.06)


def test_one_domain_says_what_to_do() -> None:
    one_domain = np.array([[[4], [4]]])
    for metric in (
        specialization.information_share,
        specialization.distinct_share,
        specialization.expert_domain,
    ):
        with pytest.raises(ValueError, match="of one domain"):
            metric(one_domain)
    assert specialization.mutual_information(one_domain).tolist() == [0.0]


def test_an_empty_trace_says_what_to_do() -> None:
    for metric in (specialization.corpus_share, specialization.mutual_information):
        with pytest.raises(ValueError, match="layer 0 has no routed tokens"):
            metric(np.zeros((1, 4, 2)))


def test_twins_are_not_distinct() -> None:
    profiles = [[800, 200], [800, 200], [200, 800], [500, 500]]  # two twins, two that stand apart
    assert specialization.distinct_share(np.array([profiles])).tolist() == [0.5]


def test_distinct_share_counts_dead_and_rare_experts_as_not_distinct() -> None:
    profiles = [[1000, 0], [0, 1000], [5, 5], [0, 0]]
    assert specialization.distinct_share(np.array([profiles])).tolist() == [0.5]


def test_the_distinct_threshold_is_about_ten_points_of_share_between_two_of_six_domains() -> None:
    generalist, ten_points = [1000] * 6, [1600, 400, 1000, 1000, 1000, 1000]
    five_points = [1300, 700, 1000, 1000, 1000, 1000]
    assert specialization.distinct_share(np.array([[generalist, ten_points]])).tolist() == [1.0]
    assert specialization.distinct_share(np.array([[generalist, five_points]])).tolist() == [0.0]


def test_distinct_share_needs_enough_text() -> None:
    with pytest.raises(ValueError, match="no expert with 1000 choices"):
        specialization.distinct_share(TOKENS_LEG)


def test_an_expert_has_the_domain_it_prefers() -> None:
    tokens_LEG = np.array([[[900, 100], [100, 900], [500, 500], [0, 0]]])
    assert specialization.expert_domain(tokens_LEG).tolist() == [[0, 1, NO_DOMAIN, TOO_FEW]]


def test_a_preference_needs_a_margin_over_the_second_domain() -> None:
    others = [200, 200, 2000]
    tokens_LEG = np.array([[[1000, 1000, 0], others], [[1400, 600, 0], others]])
    labels_LE = specialization.expert_domain(tokens_LEG)
    assert labels_LE[:, 0].tolist() == [NO_DOMAIN, 0]  # lifts 1.83 and 1.83; 1.93 and 1.65


def test_a_preference_needs_enough_choices() -> None:
    tokens_LEG = np.array([[[99, 0], [901, 1000]]])
    assert specialization.expert_domain(tokens_LEG)[0].tolist() == [TOO_FEW, NO_DOMAIN]
    assert specialization.expert_domain(tokens_LEG, min_tokens=99)[0, 0] == 0


def test_without_a_preference_too_few_choices_are_counted_over_all_domains() -> None:
    tokens_LEG = np.array([[[50, 49], [50, 50], [1000, 1000]]])
    assert specialization.expert_domain(tokens_LEG).tolist() == [[TOO_FEW, NO_DOMAIN, NO_DOMAIN]]


def test_labels_are_places_in_their_names() -> None:
    names = specialization.label_names(("math", "code"))
    assert [names[label] for label in (0, 1, TOO_FEW, NO_DOMAIN)] == [
        "math",
        "code",
        "too little data",
        "none",
    ]


def test_experts_per_domain_counts_none() -> None:
    tokens_LEG = np.array([[[900, 100], [100, 900], [500, 500], [0, 0]]])
    table = specialization.experts_per_domain(tokens_LEG, ("math", "code"))
    assert table.domain.tolist() == ["math", "code", "too little data", "none"]
    assert table.experts.tolist() == [1, 1, 1, 1]
    assert table.share.tolist() == [0.25] * 4


def test_experts_per_domain_by_layer_adds_up_to_the_whole() -> None:
    tokens_LEG = np.array([SHARED, SPLIT]) * 100
    table = specialization.experts_per_domain_by_layer(tokens_LEG, ("math", "code"))
    assert table.layer_id.tolist() == [0] * 4 + [1] * 4
    assert table.experts.tolist() == [0, 0, 0, 2, 1, 1, 0, 0]
    assert table.share.tolist() == [0.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0, 0.0]
