"""What changes of a decision from one trace to another at places that both have.

P = places, N = groups, L = MoE layers, E = routed experts, K = choices, A = amounts (AMOUNTS),
H = phases, B = bins of margins.
"""

from dataclasses import dataclass

import numpy as np

from analysis.layers import in_threads
from analysis.matching.choices import Choices
from analysis.queries import TraceInfo
from data.routing import PHASES

AMOUNTS = (  # of one decision; sums of them make figures
    "decisions",  # in which both chose an expert
    "flips",  # the chosen sets differ
    "choices",  # of whichever chose more
    "exchanged",  # of these, that the other did not choose
    "first_changed",  # another expert has the largest weight
    "jaccard",
    "pairs",  # of experts that both chose
    "reversed",  # of these, whose order is the other way round
    "weighed",  # weights of both are known
    "distance",  # of these: total variation
    "judged",  # the margin and its rounding level are known
    "near",  # of these, the margin is within the level
    "flips_judged",
    "flips_near",
)
FIGURES = {  # each a ratio of two sums
    "flip_rate": ("flips", "decisions"),
    "choices_exchanged": ("exchanged", "choices"),
    "first_choice_changed": ("first_changed", "decisions"),
    "mean_jaccard": ("jaccard", "decisions"),
    "order_reversed": ("reversed", "pairs"),
    "weight_distance": ("distance", "weighed"),
    "near_ties": ("near", "judged"),
    "flips_at_near_ties": ("flips_near", "flips_judged"),
}
WITH_NULL = tuple(FIGURES)[:6]  # the others are of the first trace's margins
MARGINS = tuple(10 ** (half / 2) for half in range(-14, 1))  # ends of the bins: half decades
ROWS_AT_ONCE = 1 << 14  # what stays in a cache
ROUNDING = {  # of scores, relative to their size
    "float32": 2.0**-20,  # 16 units: sums over thousands of terms, in another order
    "bfloat16": 2.0**-8,  # 1 unit: what enters the gate was rounded once
    "float16": 2.0**-11,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Amounts by group, phase and layer, as counted and of unrelated routers; and what single
    places are looked at for."""

    sums_NHLA: np.ndarray
    unrelated_NHLA: np.ndarray
    decisions_NB: np.ndarray  # by bin of the first trace's margin, over layers
    flips_NB: np.ndarray
    unrelated_flips_NB: np.ndarray
    flipped_PL: np.ndarray  # bool
    compared_PL: np.ndarray  # bool
    unrelated_PL: np.ndarray  # bool: flipped, of unrelated routers
    exchanged_PL: np.ndarray  # int16


def rounding_level(choices: Choices, info: TraceInfo, other: TraceInfo) -> np.ndarray:
    """Below which a margin may change its sign by arithmetic alone [P, L]: ROUNDING of the coarser
    type of both, times the score of the last expert chosen, or a bound of it. NaN: a type is not
    known."""
    types = rounding_types(info, other)
    relative = max((ROUNDING[name] for name in types), default=np.nan)
    level_PL = np.full(choices.margin_PL.shape, relative, np.float32)
    for layer_id, layer in enumerate(info.layers):
        if layer.scoring == "softmax":  # no score is above its share of the chosen
            level_PL[:, layer_id] *= _last_share(choices.weights_PLK[:, layer_id])
    return level_PL


def rounding_types(*infos: TraceInfo) -> list[str]:
    """In which the models computed; empty where one is not known."""
    captures = [info.config.get("capture") for info in infos]
    types = [str(one.get("dtype")) if isinstance(one, dict) else "" for one in captures]
    return types if all(name in ROUNDING for name in types) else []


def _last_share(weights_PK: np.ndarray) -> np.ndarray:
    """Of the smallest weight in their sum, or itself where they sum to less than 1; 1: unknown."""
    known_PK = np.isfinite(weights_PK)
    total_P = np.where(known_PK, weights_PK, 0).sum(-1)
    last_P = np.where(known_PK, weights_PK, np.inf).min(-1, initial=np.inf)
    share_P = last_P / np.maximum(total_P, 1)
    return np.where(np.isfinite(share_P) & (share_P > 0), share_P, 1)


def require_same_shape(info: TraceInfo, other: TraceInfo) -> None:
    if info.num_layers != other.num_layers:
        raise ValueError(
            f"{info.name} has {info.num_layers} MoE layers, {other.name} {other.num_layers}: their "
            "experts must be matched before choices can be compared"
        )
    sizes_L, other_L = info.layer_sizes, other.layer_sizes
    if (sizes_L != other_L).any():
        layer_id = int(np.argmax(sizes_L != other_L))
        raise ValueError(
            f"layer {layer_id} has {sizes_L[layer_id]} experts in {info.name} and "
            f"{other_L[layer_id]} in {other.name}: their experts must be matched before choices "
            "can be compared"
        )


def unrelated_places(domain_P: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Another place for each, of the same domain: every place is given once, so that loads stay.
    A domain of one place has none but that."""
    rng = np.random.default_rng(seed)
    other_P = np.arange(len(domain_P))
    for domain_id in np.unique(domain_P):
        drawn = rng.permutation(np.flatnonzero(domain_P == domain_id))
        other_P[drawn] = np.roll(drawn, 1)
    return other_P


def flips(
    first: Choices,
    second: Choices,
    *,
    num_experts: int,
    level_PL: np.ndarray,
    group_P: np.ndarray,
    phase_P: np.ndarray,
    domain_P: np.ndarray,
    size_P: np.ndarray,
    seed: int = 0,
) -> Flips:
    """Of the same layers in both; groups are numbered from 0."""
    unrelated_P = unrelated_places(domain_P, seed=seed)
    strata_P = group_P * len(PHASES) + phase_P.astype(np.int64)
    num_places, num_layers = first.margin_PL.shape
    num_groups = int(group_P.max()) + 1
    shape = num_groups, len(PHASES), len(AMOUNTS)
    flipped_PL, compared_PL, nulls_PL = np.zeros((3, num_places, num_layers), dtype=bool)
    exchanged_PL = np.zeros((num_places, num_layers), np.int16)
    bins_PL = np.searchsorted(MARGINS, first.margin_PL)  # NaN: beyond the last

    def of_layer(layer_id: int) -> tuple[np.ndarray, ...]:
        level_P = level_PL[:, layer_id]
        as_counted_PA = amounts(first, second, layer_id, num_experts, level_P)
        null_PA = amounts(first, second, layer_id, num_experts, level_P, other_P=unrelated_P)
        compared_PL[:, layer_id], flipped_PL[:, layer_id] = as_counted_PA[:, :2].T > 0
        nulls_PL[:, layer_id] = null_PA[:, 1] > 0
        exchanged_PL[:, layer_id] = as_counted_PA[:, 3]
        sums = [
            _summed(part_PA, strata_P, size_P, num_groups * len(PHASES)).reshape(shape)
            for part_PA in (as_counted_PA, null_PA)
        ]
        known_P = np.isfinite(first.margin_PL[:, layer_id])
        bin_P = group_P * (len(MARGINS) + 1) + bins_PL[:, layer_id]
        binned = np.column_stack([as_counted_PA[:, :2], null_PA[:, 1]])[known_P]
        by_bin = _summed(binned, bin_P[known_P], size_P[known_P], num_groups * (len(MARGINS) + 1))
        return *sums, by_bin.reshape(num_groups, -1, 3)

    sums, nulls, by_bin = zip(*in_threads(of_layer, num_layers), strict=True)
    binned_NB3 = np.sum(by_bin, 0)
    return Flips(
        sums_NHLA=np.stack(sums, 2),
        unrelated_NHLA=np.stack(nulls, 2),
        decisions_NB=binned_NB3[..., 0],
        flips_NB=binned_NB3[..., 1],
        unrelated_flips_NB=binned_NB3[..., 2],
        flipped_PL=flipped_PL,
        compared_PL=compared_PL,
        unrelated_PL=nulls_PL,
        exchanged_PL=exchanged_PL,
    )


def amounts(
    first: Choices,
    second: Choices,
    layer_id: int,
    num_experts: int,
    level_P: np.ndarray,
    *,
    other_P: np.ndarray | None = None,
) -> np.ndarray:
    """AMOUNTS of every decision of a layer [P, A]: compared with that of the second trace at the
    same place, or at other_P."""
    other_P = np.arange(len(level_P)) if other_P is None else other_P
    parts = [np.zeros((0, len(AMOUNTS)), np.float32)]
    for start in range(0, len(level_P), ROWS_AT_ONCE):
        here = slice(start, start + ROWS_AT_ONCE)
        parts.append(
            _amounts(
                first.ids_PLK[here, layer_id],
                second.ids_PLK[other_P[here], layer_id],
                first.weights_PLK[here, layer_id],
                second.weights_PLK[other_P[here], layer_id],
                num_experts,
                near_P=first.margin_PL[here, layer_id] <= level_P[here],
                judged_P=np.isfinite(first.margin_PL[here, layer_id] + level_P[here]),
            )
        )
    return np.concatenate(parts)


def _amounts(
    ids_PK: np.ndarray,
    other_PK: np.ndarray,
    weights_PK: np.ndarray,
    other_weights_PK: np.ndarray,
    num_experts: int,
    *,
    near_P: np.ndarray,
    judged_P: np.ndarray,
) -> np.ndarray:
    rank_PK = _ranks(ids_PK, other_PK, num_experts)
    k_P, other_k_P = (ids_PK >= 0).sum(-1), (other_PK >= 0).sum(-1)
    shared_P = (rank_PK >= 0).sum(-1)
    most_P = np.maximum(k_P, other_k_P)
    compared_P = (k_P > 0) & (other_k_P > 0)
    flipped_P = shared_P < most_P
    reversed_P = np.zeros(len(k_P), np.int64)
    for rank in range(1, ids_PK.shape[1]):
        here_P = rank_PK[:, rank, None]
        reversed_P += ((here_P >= 0) & (rank_PK[:, :rank] > here_P)).sum(-1)
    distance_P = _distance(rank_PK, ids_PK, other_PK, weights_PK, other_weights_PK)
    weighed_P = np.isfinite(distance_P)
    columns = [
        np.ones(len(k_P)),
        flipped_P,
        most_P,
        most_P - shared_P,
        ids_PK[:, 0] != other_PK[:, 0],
        shared_P / np.maximum(k_P + other_k_P - shared_P, 1),
        shared_P * (shared_P - 1) // 2,
        reversed_P,
        weighed_P,
        np.where(weighed_P, distance_P, 0),
        judged_P,
        judged_P & near_P,
        judged_P & flipped_P,
        judged_P & near_P & flipped_P,
    ]
    return np.column_stack(columns).astype(np.float32) * compared_P[:, None]


def _ranks(ids_PK: np.ndarray, other_PK: np.ndarray, num_experts: int) -> np.ndarray:
    """The rank that the other has given each of the experts; -1: none."""
    rank_PE = np.full((len(ids_PK), num_experts), -1, np.int16)
    for rank in range(other_PK.shape[1]):
        made = np.flatnonzero(other_PK[:, rank] >= 0)
        rank_PE[made, other_PK[made, rank]] = rank
    rank_PK = np.take_along_axis(rank_PE, np.maximum(ids_PK, 0).astype(np.int64), -1)
    return np.where(ids_PK >= 0, rank_PK, -1)


def _distance(
    rank_PK: np.ndarray,
    ids_PK: np.ndarray,
    other_PK: np.ndarray,
    weights_PK: np.ndarray,
    other_weights_PK: np.ndarray,
) -> np.ndarray:
    """Half the sum of absolute differences of two distributions is 1 less what they share."""
    share_PK = _shares(np.where(ids_PK >= 0, weights_PK, 0))
    other_share_PK = _shares(np.where(other_PK >= 0, other_weights_PK, 0))
    kept_PK = np.take_along_axis(other_share_PK, np.maximum(rank_PK, 0).astype(np.int64), -1)
    shared_P = np.where(rank_PK >= 0, np.minimum(share_PK, kept_PK), 0).sum(-1)
    unknown_P = np.isnan(share_PK[:, 0]) | np.isnan(other_share_PK[:, 0])
    return np.where(unknown_P, np.nan, np.clip(1 - shared_P, 0, 1))


def _shares(weights_PK: np.ndarray) -> np.ndarray:
    """NaN where a weight is unknown, or they have no sum."""
    total_P = weights_PK.sum(-1, keepdims=True)
    return np.divide(weights_PK, total_P, out=np.full(weights_PK.shape, np.nan), where=total_P > 0)


def _summed(
    values_PA: np.ndarray, stratum_P: np.ndarray, size_P: np.ndarray, count: int
) -> np.ndarray:
    """Over the places of each stratum, by their size [count, A]."""
    columns = (np.bincount(stratum_P, column * size_P, count) for column in values_PA.T)
    return np.column_stack(list(columns))
