"""EPLB (deepseek-ai/EPLB): copies of busy experts, and places for all, from loads alone.

L = MoE layers, E = routed experts, P = physical experts (places), I = items, B = bins, R = the most
copies of any expert, C = rows: a layer and a node.
"""

from dataclasses import dataclass

import numpy as np

from analysis.placement.maps import Cluster, Placement


@dataclass(frozen=True, slots=True)
class Packing:
    """Where items went."""

    bin_CI: np.ndarray
    rank_CI: np.ndarray  # in its bin, by when it came


def rebalance_experts(tokens_LE: np.ndarray, cluster: Cluster) -> Placement:
    """Hierarchical where groups of experts spread evenly over the nodes, else global.

    Hierarchical: groups are packed onto nodes, each node copies its own busiest experts, and their
    copies are packed onto its GPUs. Global: the same as if all GPUs were one node.
    """
    nodes = cluster.num_nodes if cluster.is_hierarchical else 1
    groups = cluster.num_groups if cluster.is_hierarchical else 1
    tokens_LE = np.asarray(tokens_LE, np.float64)
    expert_LE = _grouped_by_node(tokens_LE, num_groups=groups, num_nodes=nodes)
    by_node_LE = np.take_along_axis(tokens_LE, expert_LE, -1)
    tokens_CE = by_node_LE.reshape(len(tokens_LE) * nodes, -1)
    own_CP, copies_CE = replicate_experts(tokens_CE, cluster.num_places // nodes)
    each_CP = np.take_along_axis(tokens_CE / copies_CE, own_CP, -1)
    packing = balanced_packing(each_CP, cluster.num_gpus // nodes)
    place_CP = packing.bin_CI * cluster.places_per_gpu + packing.rank_CI
    placed_CP = np.empty_like(own_CP)
    np.put_along_axis(placed_CP, place_CP, own_CP, -1)
    placed_LMP = placed_CP.reshape(len(tokens_LE), nodes, -1)
    placed_LMP = placed_LMP + np.arange(nodes)[:, None] * (cluster.num_experts // nodes)
    placed_LP = placed_LMP.reshape(len(tokens_LE), -1)
    return Placement(np.take_along_axis(expert_LE, placed_LP, -1), cluster)


def _grouped_by_node(tokens_LE: np.ndarray, *, num_groups: int, num_nodes: int) -> np.ndarray:
    """Experts in the order of the nodes to which their groups are packed."""
    num_layers, num_experts = tokens_LE.shape
    size = num_experts // num_groups
    packing = balanced_packing(tokens_LE.reshape(num_layers, num_groups, size).sum(-1), num_nodes)
    place_LI = packing.bin_CI * (num_groups // num_nodes) + packing.rank_CI
    to_LE = (place_LI[..., None] * size + np.arange(size)).reshape(num_layers, num_experts)
    return np.argsort(to_LE, -1)


def balanced_packing(weight_CI: np.ndarray, num_bins: int) -> Packing:
    """Equally many items in each bin: from the heaviest on, each into the lightest bin that has
    room; of equal ones the first. Where a bin takes one item, item i goes into bin i."""
    rows, items = weight_CI.shape
    room = items // num_bins
    if room == 1:
        bin_CI = np.tile(np.arange(items), (rows, 1))
        return Packing(bin_CI, np.zeros_like(bin_CI))
    every = np.arange(rows)
    bin_CI, rank_CI = np.empty((2, rows, items), int)
    weight_CB, held_CB = np.zeros((rows, num_bins)), np.zeros((rows, num_bins), int)
    for item_C in np.argsort(-weight_CI, -1, kind="stable").T:
        lightest_C = np.where(held_CB < room, weight_CB, np.inf).argmin(-1)
        bin_CI[every, item_C], rank_CI[every, item_C] = lightest_C, held_CB[every, lightest_C]
        weight_CB[every, lightest_C] += weight_CI[every, item_C]
        held_CB[every, lightest_C] += 1
    return Packing(bin_CI, rank_CI)


def replicate_experts(tokens_CE: np.ndarray, num_places: int) -> tuple[np.ndarray, np.ndarray]:
    """The expert of every place [C, P], each expert once and then copies, and how many copies each
    has [C, E]: one more for the expert with the largest load a copy, of equal ones the first."""
    rows, num_experts = tokens_CE.shape
    every = np.arange(rows)
    expert_CP = np.empty((rows, num_places), int)
    expert_CP[:, :num_experts] = np.arange(num_experts)
    copies_CE = np.ones((rows, num_experts), int)
    for place in range(num_experts, num_places):
        expert_CP[:, place] = (tokens_CE / copies_CE).argmax(-1)
        copies_CE[every, expert_CP[:, place]] += 1
    return expert_CP, copies_CE
