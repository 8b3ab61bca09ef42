"""Clusters of experts: planted ones are found, named and agree; noise gives none."""

import numpy as np
import pandas as pd

from analysis.expert_clusters import (
    MAX_CLUSTERS,
    NO_CLUSTER,
    cluster_agreement,
    expert_clusters,
    layer_clusters,
    typical_tokens,
)

OWN, OTHER = 200, 20  # choices that a planted expert makes of its own id, and of each other id


def planted(*, groups: int = 3, experts: int = 3, seed: int = 0) -> np.ndarray:
    """tokens_EV: so many experts of each group, expert e in group e % groups, prefer its id."""
    rng = np.random.default_rng(seed)
    own_EV = np.tile(np.eye(groups), (experts, 1))
    return OTHER + own_EV * (OWN - OTHER) + rng.integers(0, 5, own_EV.shape)


def choices(tokens_NEV: np.ndarray) -> pd.DataFrame:
    """As queries.token_id_choices() gives them, of groups of one text; the even experts first."""
    unit, expert, token = np.nonzero(tokens_NEV)
    tokens = tokens_NEV[unit, expert, token].astype(int)
    first = np.where(expert % 2 == 0, tokens, 0)
    return pd.DataFrame(
        {"unit": unit, "token_id": token, "expert_id": expert, "tokens": tokens}
    ).assign(doc_id=unit, first_tokens=first)


def test_experts_that_are_chosen_for_the_same_tokens_are_a_cluster() -> None:
    tokens_EV = planted()
    tokens_EV[1::3] *= 3  # group 1 has the most choices, then 2, then 0
    tokens_EV[2::3] *= 2
    assert expert_clusters(tokens_EV).tolist() == [2, 0, 1] * 3


def test_busy_and_quiet_experts_of_the_same_tokens_are_alike() -> None:
    tokens_EV = planted()
    tokens_EV[6:] *= 50
    assert expert_clusters(tokens_EV).reshape(3, 3).std(0).tolist() == [0, 0, 0]


def test_an_expert_with_few_choices_is_in_no_cluster() -> None:
    tokens_EV = planted(experts=4)
    tokens_EV[5] = [33, 33, 33]  # 99 in all
    found = expert_clusters(tokens_EV)
    assert found[5] == NO_CLUSTER
    assert (np.delete(found, 5) != NO_CLUSTER).all()


def test_a_cluster_has_three_experts_on_average() -> None:
    assert (expert_clusters(planted()[:8]) == NO_CLUSTER).all()  # 8 would be two
    assert expert_clusters(planted(groups=4)).max() == 3
    assert expert_clusters(planted(groups=12, experts=4)).max() == MAX_CLUSTERS - 1


def test_typical_tokens_are_those_far_above_the_mix_of_the_layer() -> None:
    tokens_EV = np.array([[30, 10, 0], [0, 10, 30]])  # the mix is 30, 20, 30
    table = typical_tokens(tokens_EV, np.array([0, 1]))
    assert table.cluster.tolist() == [0, 1]
    assert table.place.tolist() == [0, 2]  # id 1 is as frequent in both as in the layer
    assert table.expected.tolist() == [15, 15]
    assert table.lift.tolist() == [2, 2]


def test_a_token_is_typical_of_one_cluster_only() -> None:
    tokens_EV = np.array([[40, 0, 0], [30, 10, 0], [0, 10, 150]])
    table = typical_tokens(tokens_EV, np.array([0, 1, 2]))
    assert table[table.place == 0].cluster.tolist() == [0]  # a lift of 3.4, and of 2.6 in 1
    assert table[table.place == 1].cluster.tolist() == [1]


def test_planted_clusters_agree_between_halves_and_noise_does_not() -> None:
    halves = np.stack([planted(seed=0), planted(seed=1)])
    agreement, p = cluster_agreement(halves)
    assert agreement == 1
    assert p < 0.05
    halves[1] = halves[1][[0, 4, 8, 1, 5, 6, 2, 3, 7]]  # each cluster has one of each group
    agreement, p = cluster_agreement(halves)
    assert agreement < 0
    assert p > 0.5


def test_halves_without_a_common_expert_do_not_agree() -> None:
    halves = np.stack([planted(), np.zeros((9, 3))])
    assert np.isnan(cluster_agreement(halves)).all()


def test_a_layer_has_the_clusters_of_its_texts() -> None:
    texts = np.stack([planted(seed=seed) // 4 for seed in range(12)])
    found = layer_clusters(choices(texts), 10)  # no text chose expert 9
    assert found.reason == ""
    assert found.count == 3
    assert found.cluster_E[9] == NO_CLUSTER
    named = found.typical.groupby("cluster").token_id.first()
    assert sorted(named) == [0, 1, 2]
    assert (named[found.cluster_E[:3]] == [0, 1, 2]).all()
    again = layer_clusters(choices(texts), 10)
    assert (again.cluster_E == found.cluster_E).all()
    assert again.typical.equals(found.typical)


def test_a_router_without_preferences_has_no_clusters() -> None:
    rng = np.random.default_rng(0)
    noise = [layer_clusters(choices(rng.poisson(4, (12, 15, 30))), 15) for _ in range(10)]
    assert (
        sum(found.reason == "other texts would group the experts otherwise" for found in noise) >= 9
    )
    assert all(found.count == 0 for found in noise if found.reason)


def test_what_is_too_little_is_said() -> None:
    texts = np.stack([planted(seed=seed) // 4 for seed in range(12)])
    assert layer_clusters(choices(texts[:1]), 9).reason == "there is one group of texts only"
    few = layer_clusters(choices(np.minimum(texts[:2], 1)), 9)
    assert few.reason == "fewer than 9 experts have 100 choices of tokens that recur"
    apart = np.zeros((12, 9, 36))  # every text has its own three ids
    for place, text in enumerate(texts):
        apart[place, :, 3 * place : 3 * place + 3] = text
    reason = layer_clusters(choices(apart), 9).reason
    assert reason == "no token id occurs 10 times in 3 groups of texts"
    assert layer_clusters(choices(texts[:, :0]), 9).reason == "no token chose any of them"
