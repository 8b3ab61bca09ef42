"""Experts that are alike, as numbers that can be checked in the head."""

import numpy as np
import pytest

from analysis import redundancy
from analysis.redundancy import CLOSED, leaders, neuron_match, without_least_salient


def neurons(seed: int = 0) -> np.ndarray:
    """Three experts [E, F, P, D]; the second is the first with its neurons turned round and two of
    them negated, the third another one."""
    rng = np.random.default_rng(seed)
    first, other = rng.normal(size=(2, 5, 3, 7))
    twin = first[::-1].copy()
    twin[:2, 1:] *= -1
    return np.stack([first, twin, other])


def test_aligned_similarity_sees_a_twin_that_the_order_of_neurons_hides() -> None:
    assert redundancy.weight_similarity(neurons())[0, 1] < 0.5
    aligned_EE = redundancy.aligned_similarity(neurons())
    assert aligned_EE[0, 1] == pytest.approx(1)
    assert aligned_EE[0, 2] == aligned_EE[2, 0] < 0.6


def test_the_match_lays_the_twin_on_its_leader() -> None:
    first, twin, _ = neurons()
    match = neuron_match(twin, first)
    assert match.order_F.tolist() == [4, 3, 2, 1, 0]
    assert match.sign_F.tolist() == [1, 1, 1, -1, -1]  # negated were twin's neurons 0 and 1


def test_unrelated_experts_agree_more_once_aligned() -> None:
    random_EFPD = np.random.default_rng(1).normal(size=(6, 8, 3, 16))
    apart = ~np.eye(6, dtype=bool)
    assert abs(redundancy.weight_similarity(random_EFPD)[apart].mean()) < 0.05
    assert redundancy.aligned_similarity(random_EFPD)[apart].mean() > 0.15


def test_output_similarity_is_the_mean_cosine_over_tokens() -> None:
    """The second doubles the first on one token and negates it on the other; the third is 0."""
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    second = np.array([[2.0, 0.0], [0.0, -1.0]])
    outputs_ETD = np.stack([first, second, first, 0 * first])
    found = redundancy.output_similarity(outputs_ETD)
    assert found[0].tolist()[:3] == [1, 0, 1]  # (1 - 1) / 2
    assert np.isnan(found[3]).all()


def test_the_null_of_outputs_is_what_a_common_direction_gives() -> None:
    rng = np.random.default_rng(0)
    outputs_ETD = rng.normal(size=(4, 500, 8)) + 3
    apart = ~np.eye(4, dtype=bool)
    found = redundancy.output_similarity(outputs_ETD)[apart]
    null = redundancy.output_similarity_null(outputs_ETD)[apart]
    assert found.mean() == pytest.approx(null.mean(), abs=0.01) == pytest.approx(0.9, abs=0.03)


def test_routing_similarity_is_a_correlation_of_choices() -> None:
    chosen_TE = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]], dtype=float)
    found = redundancy.routing_similarity(chosen_TE)
    assert found[0, :3] == pytest.approx([1, 1, -1])
    assert np.isnan(found[3]).all()  # never chosen


def test_experts_that_compete_alike_are_at_the_null_of_routing() -> None:
    order_TE = np.random.default_rng(0).random((20_000, 8)).argsort(1)
    found = redundancy.routing_similarity((order_TE < 2).astype(float))
    assert found[0, 1] == pytest.approx(redundancy.routing_similarity_null(8), abs=0.02)
    assert redundancy.routing_similarity_null(8) == -1 / 7
    with pytest.raises(ValueError, match="1 expert has no other"):
        redundancy.routing_similarity_null(1)


def test_the_busiest_leads_and_nobody_joins_a_follower() -> None:
    """1 is busiest; 0 is like 1; 2 is like 0 but not like 1, so it stands for itself."""
    similarity_EE = np.array([[1, 0.9, 0.9], [0.9, 1, 0.5], [0.9, 0.5, 1]])
    assert leaders(similarity_EE, np.array([5, 9, 3]), threshold=0.85).tolist() == [1, 1, 2]
    assert leaders(similarity_EE, np.array([5, 9, 3]), threshold=0.5).tolist() == [1, 1, 1]
    assert leaders(similarity_EE, np.array([5, 9, 3]), threshold=0.95).tolist() == [0, 1, 2]


def test_an_expert_that_cannot_be_compared_stands_for_itself() -> None:
    similarity_EE = np.array([[1, np.nan], [np.nan, np.nan]])
    assert leaders(similarity_EE, np.array([5, 0]), threshold=0).tolist() == [0, 1]


def test_the_least_salient_share_is_closed() -> None:
    saliency_E = np.array([0.3, 0.1, 0.4, 0.2])
    assert without_least_salient(saliency_E, share=0.5).tolist() == [0, CLOSED, 2, CLOSED]
    assert without_least_salient(saliency_E, share=0.2).tolist() == [0, 1, 2, 3]  # 0.8 experts


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        leaders(np.eye(2), np.ones(2), threshold=threshold)
