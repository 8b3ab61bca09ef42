"""Experts of one layer that are chosen for the same tokens, and the tokens that tell them apart.

E = routed experts, V = token ids that count, C = clusters, H = halves of the texts, P =
permutations.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from analysis.halves import judging_half
from analysis.significance import MAX_Q
from analysis.specialization import MIN_LIFT
from analysis.vocabulary import MIN_OCCURRENCES

MAX_TOKENS = 200_000  # of a trace that are read
MAX_CLUSTERS = 7  # as many as there are colours
EXPERTS_PER_CLUSTER = 3  # at least, on average
MIN_CHOICES = 100  # of an expert, of ids that count
MIN_GROUPS = 3  # in which an id occurs: no single text makes a cluster
PERMUTATIONS = 200
NO_CLUSTER = -1  # of an expert with too few choices to say


@dataclass(frozen=True, slots=True)
class Clusters:
    """Those of one layer, or the reason why there are none."""

    cluster_E: np.ndarray
    typical: pd.DataFrame  # as typical_tokens(), with token_id
    agreement: float = float("nan")  # of the clusters of one half of the texts with the other's
    reason: str = ""

    @property
    def count(self) -> int:
        return int(self.cluster_E.max(initial=NO_CLUSTER)) + 1


def layer_clusters(choices: pd.DataFrame, num_experts: int, *, seed: int = 0) -> Clusters:
    """From queries.token_id_choices()."""
    nothing = np.full(num_experts, NO_CLUSTER)
    tokens_HEV, token_id_V, reason = _counted(choices, num_experts, seed=seed)
    if reason:
        return Clusters(nothing, pd.DataFrame(), reason=reason)
    cluster_E = expert_clusters(tokens_HEV.sum(0))
    if not (cluster_E != NO_CLUSTER).any():
        least = 3 * EXPERTS_PER_CLUSTER
        reason = f"fewer than {least} experts have {MIN_CHOICES} choices of tokens that recur"
        return Clusters(nothing, pd.DataFrame(), reason=reason)
    agreement, p = cluster_agreement(tokens_HEV, seed=seed)
    if not p < MAX_Q:
        reason = "other texts would group the experts otherwise"
        return Clusters(nothing, pd.DataFrame(), agreement, reason)
    typical = typical_tokens(tokens_HEV.sum(0), cluster_E)
    typical.insert(1, "token_id", token_id_V[typical.pop("place")])
    return Clusters(cluster_E, typical, agreement)


def expert_clusters(tokens_EV: np.ndarray) -> np.ndarray:
    """The cluster of each expert [E], 0 the one of most choices; NO_CLUSTER where an expert has
    too few, and everywhere if too few experts are left.

    Ward's clusters of the directions in which the square roots of p(v | e) leave those of p(v).
    """
    tokens_E = tokens_EV.sum(-1)
    cluster_E = np.full(len(tokens_EV), NO_CLUSTER)
    known = np.flatnonzero(tokens_E >= MIN_CHOICES)
    count = min(MAX_CLUSTERS, len(known) // EXPERTS_PER_CLUSTER)
    if count < 3:
        return cluster_E
    share_EV = tokens_EV[known] / tokens_E[known, None]
    share_V = tokens_EV.sum(0) / tokens_E.sum()
    profile_EV = np.sqrt(share_EV) - np.sqrt(share_V)
    length_E = np.linalg.norm(profile_EV, axis=-1, keepdims=True)
    np.divide(profile_EV, length_E, out=profile_EV, where=length_E > 0)
    found = fcluster(linkage(profile_EV, "ward"), count, "maxclust") - 1
    load = np.bincount(found, weights=tokens_E[known])
    first = [np.flatnonzero(found == cluster)[0] for cluster in range(len(load))]
    cluster_E[known] = np.lexsort((first, -load)).argsort()[found]
    return cluster_E


def typical_tokens(tokens_EV: np.ndarray, cluster_E: np.ndarray) -> pd.DataFrame:
    """cluster, place (of V), tokens, expected, lift: the ids of lift >= MIN_LIFT, those first that
    add most to the divergence of the cluster's tokens from the layer's, n ln(n / expected). Each
    id stands in the cluster to which it adds most, so that names differ."""
    count = cluster_E.max(initial=NO_CLUSTER) + 1
    tokens_CV = np.stack([tokens_EV[cluster_E == cluster].sum(0) for cluster in range(count)])
    expected_CV = tokens_CV.sum(-1, keepdims=True) * tokens_EV.sum(0) / tokens_EV.sum()
    lift_CV = np.divide(
        tokens_CV, expected_CV, out=np.zeros(tokens_CV.shape), where=expected_CV > 0
    )
    added_CV = np.where(lift_CV >= MIN_LIFT, tokens_CV * np.log(np.maximum(lift_CV, 1)), 0.0)
    cluster, place = np.nonzero((added_CV == added_CV.max(0)) & (added_CV > 0))
    order = np.lexsort((place, -added_CV[cluster, place], cluster))
    cells = cluster[order], place[order]
    return pd.DataFrame(
        {
            "cluster": cells[0],
            "place": cells[1],
            "tokens": tokens_CV[cells],
            "expected": expected_CV[cells],
            "lift": lift_CV[cells],
        }
    )


def cluster_agreement(tokens_HEV: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """The adjusted Rand index of the clusters of one half of the texts and of the other, over the
    experts that both know, and p: how often permuted experts agree as well. NaN: none is known."""
    first_E, second_E = (expert_clusters(tokens_EV) for tokens_EV in tokens_HEV)
    both_E = (first_E != NO_CLUSTER) & (second_E != NO_CLUSTER)
    if not both_E.any():
        return float("nan"), float("nan")
    first, second = first_E[both_E], second_E[both_E]
    rng = np.random.default_rng(seed)
    order_PE = np.stack([np.arange(len(first)), *map(rng.permutation, [len(first)] * PERMUTATIONS)])
    member_EC, other_PEC = np.eye(MAX_CLUSTERS)[first], np.eye(MAX_CLUSTERS)[second][order_PE]
    together_P = ((member_EC.T @ other_PEC) ** 2).sum((1, 2))  # which is all that permuting changes
    p = (together_P >= together_P[0]).mean()
    return float(adjusted_rand_score(first, second)), float(p)


def _counted(
    choices: pd.DataFrame, num_experts: int, *, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """tokens_HEV and token_id_V of the ids that count, or the reason why nothing does."""
    size = choices.groupby("unit").tokens.sum()
    if len(size) < 2:
        reason = "there is one group of texts only" if len(size) else "no token chose any of them"
        return np.zeros((2, num_experts, 0)), np.zeros(0), reason
    ids = choices.groupby("token_id").agg(
        occurrences=("first_tokens", "sum"), groups=("unit", "nunique")
    )
    often = (ids.occurrences >= MIN_OCCURRENCES) & (ids.groups >= min(MIN_GROUPS, len(size)))
    token_id_V = ids.index[often].to_numpy()
    if not len(token_id_V):
        reason = f"no token id occurs {MIN_OCCURRENCES} times in {MIN_GROUPS} groups of texts"
        return np.zeros((2, num_experts, 0)), token_id_V, reason
    counted = choices[choices.token_id.isin(token_id_V)]
    judges = judging_half(size.to_numpy(), np.zeros(len(size), int), seed=seed)
    half = judges[size.index.get_indexer(pd.Index(counted.unit))].astype(int)
    tokens_HEV = np.zeros((2, num_experts, len(token_id_V)))
    place = np.searchsorted(token_id_V, counted.token_id)
    np.add.at(tokens_HEV, (half, counted.expert_id.to_numpy(), place), counted.tokens.to_numpy())
    return tokens_HEV, token_id_V, ""
