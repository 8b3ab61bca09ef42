"""Which expert lies in which place of which GPU.

L = MoE layers, E = routed experts, P = physical experts (places), H = GPUs, M = nodes. Each GPU has
equally many places, in order, and each node equally many GPUs: place p is on GPU p // (P / H).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from data.routing import MOST_PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What experts are placed on."""

    num_experts: int  # logical ones of a layer
    num_gpus: int
    num_nodes: int = 1
    num_redundant: int = 0  # places beyond one for each expert
    num_groups: int = 1  # of experts, from which a token may choose only some

    def __post_init__(self) -> None:
        experts, gpus, nodes = self.num_experts, self.num_gpus, self.num_nodes
        if min(experts, gpus, nodes, self.num_groups) < 1 or self.num_redundant < 0:
            raise ValueError(
                f"{experts} experts, {gpus} GPUs, {nodes} nodes, {self.num_groups} groups of "
                f"experts and {self.num_redundant} redundant ones: there must be at least 1 of "
                "each, and no fewer than 0 redundant experts"
            )
        if self.num_places > MOST_PLACES:
            raise ValueError(
                f"{self.num_places:,} places of a layer are more than {MOST_PLACES:,}; give fewer "
                "redundant experts"
            )
        if self.num_places % gpus:
            least = -experts % gpus
            fits = [str(of) for of in (least, least + gpus) if experts + of <= MOST_PLACES]
            redundant = f"{' or '.join(fits)} redundant experts, or " if fits else ""
            raise ValueError(
                f"{experts} experts and {self.num_redundant} redundant ones do not spread evenly "
                f"over {gpus} GPUs; give {redundant}a number of GPUs that divides {self.num_places}"
            )
        if gpus % nodes:
            raise ValueError(
                f"{gpus} GPUs do not spread evenly over {nodes} nodes; give a number of nodes that "
                f"divides {gpus}"
            )
        if experts % self.num_groups:
            raise ValueError(
                f"{experts} experts are not {self.num_groups} groups of equal size; give a number "
                f"of groups that divides {experts}"
            )

    @property
    def num_places(self) -> int:
        return self.num_experts + self.num_redundant

    @property
    def places_per_gpu(self) -> int:
        return self.num_places // self.num_gpus

    @property
    def is_hierarchical(self) -> bool:
        """Whole groups of experts can be given to nodes."""
        return self.num_nodes > 1 and self.num_groups % self.num_nodes == 0

    @property
    def gpu_of_places(self) -> np.ndarray:
        return np.arange(self.num_places) // self.places_per_gpu

    @property
    def node_of_gpus(self) -> np.ndarray:
        return np.arange(self.num_gpus) // (self.num_gpus // self.num_nodes)


@dataclass(frozen=True, slots=True)
class Placement:
    """The expert in each place. ValueError: it is none, or an expert has no place."""

    experts_LP: np.ndarray  # physical to logical
    cluster: Cluster

    def __post_init__(self) -> None:
        places, experts = self.experts_LP.shape[1], self.cluster.num_experts
        if places != self.cluster.num_places:
            raise ValueError(
                f"a map of {places} places, and {self.cluster.num_places} were expected: "
                f"{experts} experts and {self.cluster.num_redundant} redundant ones"
            )
        wrong_LP = (self.experts_LP < 0) | (self.experts_LP >= experts)
        if wrong_LP.any():
            layer_id, place = np.argwhere(wrong_LP)[0]
            raise ValueError(
                f"place {place} of layer {layer_id} holds expert "
                f"{self.experts_LP[layer_id, place]}; experts are 0 to {experts - 1}"
            )
        if (missing_LE := self.copies == 0).any():
            layer_id, expert_id = np.argwhere(missing_LE)[0]
            raise ValueError(f"expert {expert_id} of layer {layer_id} has no place in the map")

    @property
    def copies(self) -> np.ndarray:
        return counts_by_row(self.experts_LP, self.cluster.num_experts)

    @property
    def by_gpu(self) -> np.ndarray:
        """experts_LHS: S = places of a GPU."""
        return self.experts_LP.reshape(len(self.experts_LP), self.cluster.num_gpus, -1)

    def places(self) -> np.ndarray:
        """Logical to physical, places_LER: those of each expert in order, -1 beyond its copies. R =
        the most copies of any expert."""
        copies_LE = self.copies
        places_LER = np.full((*copies_LE.shape, int(copies_LE.max())), -1)
        for places_ER, experts_P in zip(places_LER, self.experts_LP, strict=True):
            order_P = np.argsort(experts_P, kind="stable")
            ordered_P = experts_P[order_P]
            first_P = np.searchsorted(ordered_P, ordered_P)
            places_ER[ordered_P, np.arange(len(order_P)) - first_P] = order_P
        return places_LER

    def by_node(self) -> "Placement":
        """As if each node were one GPU."""
        return Placement(
            self.experts_LP, replace(self.cluster, num_gpus=self.cluster.num_nodes, num_nodes=1)
        )

    def held_by_gpu(self) -> Iterator[np.ndarray]:
        """held_HE of each layer: how many copies of an expert each GPU holds."""
        return (counts_by_row(held_HS, self.cluster.num_experts) for held_HS in self.by_gpu)


def counts_by_row(ids_RP: np.ndarray, num_ids: int) -> np.ndarray:
    """How often each row holds each id [R, E]."""
    cells = ids_RP + num_ids * np.arange(len(ids_RP))[:, None]
    return np.bincount(cells.ravel(), minlength=len(ids_RP) * num_ids).reshape(-1, num_ids)


def in_order(cluster: Cluster, num_layers: int) -> Placement:
    """Round robin: place p holds expert p modulo E, as engines place experts without a map."""
    experts_P = np.arange(cluster.num_places) % cluster.num_experts
    return Placement(np.tile(experts_P, (num_layers, 1)), cluster)


def random_placement(cluster: Cluster, num_layers: int, rng: np.random.Generator) -> Placement:
    """Every expert once and copies of random ones, in random places."""
    experts_LP = np.tile(np.arange(cluster.num_places), (num_layers, 1))
    redundant = cluster.num_redundant
    experts_LP[:, cluster.num_experts :] = rng.integers(
        cluster.num_experts, size=(num_layers, redundant)
    )
    return Placement(rng.permuted(experts_LP, axis=1), cluster)


def nearest_to(plan: Placement, current: Placement) -> Placement:
    """The plan with its GPUs renumbered, in each layer and within equal nodes, so that as many
    places as can be keep the expert that they have: load and traffic stay what they are."""
    if plan.cluster.num_places != current.cluster.num_places or (
        plan.cluster.num_gpus != current.cluster.num_gpus
    ):
        return plan
    moved_LP = np.empty_like(plan.experts_LP)
    pairs = zip(plan.by_gpu, current.by_gpu, strict=True)
    for layer_id, (planned_HS, current_HS) in enumerate(pairs):
        to_H = _gpus_that_hold_most(planned_HS, current_HS, plan.cluster)
        moved_HS = np.empty_like(planned_HS)
        moved_HS[to_H] = planned_HS
        moved_LP[layer_id] = np.concatenate(
            [
                _kept_in_place(one_S, had_S)
                for one_S, had_S in zip(moved_HS, current_HS, strict=True)
            ]
        )
    return Placement(moved_LP, plan.cluster)


def _gpus_that_hold_most(
    planned_HS: np.ndarray, current_HS: np.ndarray, cluster: Cluster
) -> np.ndarray:
    """The number that each GPU of the plan gets [H]: nodes are matched first, then their GPUs."""
    planned_HE = counts_by_row(planned_HS, cluster.num_experts)
    current_HE = counts_by_row(current_HS, cluster.num_experts)
    same_HH = _held_by_both(planned_HE, current_HE)
    each = cluster.num_gpus // cluster.num_nodes
    same_MMhh = same_HH.reshape(-1, each, cluster.num_nodes, each).swapaxes(1, 2)
    best_MM = same_MMhh.sum((-1, -2))
    if each > 1:
        for one, other in np.argwhere(best_MM):
            overlap_hh = same_MMhh[one, other]
            best_MM[one, other] = overlap_hh[linear_sum_assignment(-overlap_hh)].sum()
    nodes = zip(*linear_sum_assignment(-best_MM), strict=True)
    return np.concatenate(
        [other * each + linear_sum_assignment(-same_MMhh[one, other])[1] for one, other in nodes]
    )


def _held_by_both(planned_HE: np.ndarray, current_HE: np.ndarray) -> np.ndarray:
    """same_HH: copies that a GPU of either map holds, the smaller number of each expert."""
    same_HH = np.zeros((len(planned_HE), len(current_HE)), np.float32)
    for copies in range(1, min(planned_HE.max(), current_HE.max()) + 1):
        planned, current = (
            (held >= copies).astype(np.float32) for held in (planned_HE, current_HE)
        )
        same_HH += planned @ current.T
    return same_HH


def _kept_in_place(planned_S: np.ndarray, current_S: np.ndarray) -> np.ndarray:
    """The same experts, those that the GPU has already in the places where they are."""
    left = Counter(planned_S.tolist())
    placed_S = np.full(len(planned_S), -1)
    for place, expert in enumerate(current_S.tolist()):
        if left[expert]:
            left[expert] -= 1
            placed_S[place] = expert
    placed_S[placed_S < 0] = list(left.elements())
    return placed_S
