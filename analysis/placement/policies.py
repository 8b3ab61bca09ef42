"""By which rule experts are placed. L = MoE layers, E = routed experts, P = places, H = GPUs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.placement.eplb import balanced_packing, rebalance_experts, replicate_experts
from analysis.placement.maps import Cluster, Placement, in_order
from analysis.placement.search import swap_for_balance, swap_for_nearness

IN_ORDER, GREEDY, EPLB, EPLB_GLOBAL, COACTIVATION = POLICIES = (
    "in-order",
    "greedy",
    "eplb",
    "eplb-global",
    "coactivation",
)
SLACK = 1.05  # times the mean load, to which a GPU may be loaded for the sake of traffic
SEPARATE = 2.0  # times all pairs of a layer: what two copies on one GPU would cost


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a map is made for: texts, a phase or a domain of them."""

    tokens_LE: np.ndarray
    pairs: Callable[[int], np.ndarray] | None  # pairs_EE of a layer; None: unknown


def place(policy: str, traffic: Traffic, cluster: Cluster) -> Placement:
    """ValueError: there is no such policy, or it needs what is unknown."""
    if policy == IN_ORDER:
        return in_order(cluster, len(traffic.tokens_LE))
    if policy == EPLB:
        return rebalance_experts(traffic.tokens_LE, cluster)
    if policy == EPLB_GLOBAL:
        one_node = replace(cluster, num_nodes=1)
        return Placement(rebalance_experts(traffic.tokens_LE, one_node).experts_LP, cluster)
    if policy == GREEDY:
        return _searched(traffic, cluster, together=False)
    if policy == COACTIVATION:
        return _searched(traffic, cluster, together=True)
    raise ValueError(f"there is no policy {policy!r:.80}; give one of {', '.join(POLICIES)}")


def known_policies(cluster: Cluster, *, pairs_known: bool) -> list[str]:
    """Those that differ here: EPLB is global where groups do not spread over nodes, and what is
    chosen together may be unknown."""
    left_out = set() if cluster.is_hierarchical else {EPLB_GLOBAL}
    left_out |= set() if pairs_known else {COACTIVATION}
    return [policy for policy in POLICIES if policy not in left_out]


def _searched(traffic: Traffic, cluster: Cluster, *, together: bool) -> Placement:
    """Copies and packing of EPLB over all GPUs, and then swaps."""
    tokens_LE = np.asarray(traffic.tokens_LE, np.float64)
    experts_LP, copies_LE = replicate_experts(tokens_LE, cluster.num_places)
    pairs = _known_pairs(traffic) if together else None
    load_LP = np.take_along_axis(tokens_LE / copies_LE, experts_LP, -1)
    gpu_LP = balanced_packing(load_LP, cluster.num_gpus).bin_CI
    for layer_id, (load_P, gpu_P) in enumerate(zip(load_LP, gpu_LP, strict=True)):
        swap_for_balance(load_P, gpu_P, cluster.num_gpus)
        if pairs is not None:
            pairs_PP = _pairs_of_places(pairs(layer_id), experts_LP[layer_id], copies_LE[layer_id])
            busiest = np.bincount(gpu_P, load_P, cluster.num_gpus).max()
            most = max(busiest, SLACK * load_P.sum() / cluster.num_gpus)
            swap_for_nearness(load_P, pairs_PP, _nearness(cluster), most, gpu_P)
    by_gpu_LP = np.argsort(gpu_LP, -1, kind="stable")
    return Placement(np.take_along_axis(experts_LP, by_gpu_LP, -1), cluster)


def _known_pairs(traffic: Traffic) -> Callable[[int], np.ndarray]:
    if traffic.pairs is None:
        raise ValueError(
            f"{COACTIVATION} places by which experts are chosen together, and of the texts that "
            "make the map no single choice is known; choose another policy"
        )
    return traffic.pairs


def _pairs_of_places(
    pairs_EE: np.ndarray, experts_P: np.ndarray, copies_E: np.ndarray
) -> np.ndarray:
    """Copies share the tokens of their expert evenly, and repel each other."""
    pairs_EE = pairs_EE.astype(np.float64)
    pairs_PP = pairs_EE[np.ix_(experts_P, experts_P)]
    pairs_PP /= copies_E[experts_P][:, None] * copies_E[experts_P]
    pairs_PP[experts_P[:, None] == experts_P] = -SEPARATE * pairs_EE.sum()
    np.fill_diagonal(pairs_PP, 0)
    return pairs_PP


def _nearness(cluster: Cluster) -> np.ndarray:
    """near_HH: 1 within a node, 2 on one GPU; of one node 0 and 1."""
    near_HH = np.eye(cluster.num_gpus)
    if cluster.num_nodes > 1:
        near_HH += cluster.node_of_gpus[:, None] == cluster.node_of_gpus
    return near_HH
