"""Lists of experts: what they carry in texts that did not choose them, and how surely an expert is
on one.

Each half of the groups is measured with the list that the other half chose, so every group counts
and none is measured with a list of its own; a single group can only be measured with its own.

N = groups, H = halves, L = MoE layers, E = routed
experts, X = amounts of a layer that choose a list each, R = resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import resampled_loads
from analysis.definitions import normalized_over_experts
from analysis.esft import DECIMALS
from analysis.groups import MIN_EFFECTIVE, effective_number
from analysis.halves import judging_half
from analysis.layers import experts, in_threads
from analysis.ratios import share_interval

RESAMPLES = 200  # lists of other samples of texts: a share of them is known to 0.035
Choose = Callable[[int, np.ndarray], np.ndarray]  # a layer and amount_XE to listed_XE


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Lists of two halves of the groups, and all groups with the half that each is in; or the one
    list of a single group, which is in neither."""

    amount_NLE: np.ndarray
    domain_id_N: np.ndarray
    half_N: np.ndarray  # 0 or 1; -1: neither
    listed_HLE: np.ndarray  # what each half chose
    experts_L: np.ndarray

    @property
    def by_others(self) -> bool:
        """No group is measured with a list that it chose."""
        return len(self.listed_HLE) == 2

    def measured(self, of_N: np.ndarray, *, most: bool | None) -> dict[str, float]:
        """estimate, low, high: the share of these groups' amounts that the lists carry; chance:
        that of random lists of the same sizes; bound: of the lists that these groups would choose,
        with the most or the least; None, or a list of a single group: not asked."""
        most = most if self.by_others else None
        carried_N, size_N = np.zeros((2, len(of_N)))
        chance, bound = 0.0, 0.0
        for half, listed_LE in enumerate(self.listed_HLE):
            measured_N = of_N & (self.half_N != half)
            amount_NLE = self.amount_NLE[measured_N]
            carried_N[measured_N] = np.einsum("nle,le->n", amount_NLE, listed_LE, dtype=np.float64)
            size_N[measured_N] = amount_NLE.sum((1, 2), dtype=np.float64)
            amount_LE, count_L = amount_NLE.sum(0, dtype=np.float64), listed_LE.sum(-1)
            chance += float((amount_LE.sum(-1) * count_L / self.experts_L).sum())
            if most is not None:
                bound += _extreme(amount_LE, count_L, self.experts_L, most=most)
        interval = share_interval(carried_N[of_N], size_N[of_N], self.domain_id_N[of_N])
        total = size_N.sum()
        chance, bound = (float(of / total) if total else np.nan for of in (chance, bound))
        return {
            "estimate": interval["estimate"],
            "low": interval["low"],
            "high": interval["high"],
            "chance": chance,
            "bound": np.nan if most is None else bound,
        }

    def agreement(self) -> tuple[float, float]:
        """2 |A and B| / (|A| + |B|) of the lists of the two halves, and what two random lists of
        the same sizes would have; NaN of a single list."""
        if not self.by_others:
            return np.nan, np.nan
        first_LE, second_LE = self.listed_HLE
        return overlap(first_LE, second_LE, self.experts_L)


def held_out(
    amount_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    choose: Choose,
    *,
    experts_L: np.ndarray,
    choosing_N: np.ndarray | None = None,
    half_N: np.ndarray | None = None,
    seed: int = 0,
) -> HeldOut:
    """Only the groups choosing_N choose, if not all; `half_N`: of judging_half(), if known."""
    choosing_N = np.ones(len(domain_id_N), dtype=bool) if choosing_N is None else choosing_N
    if half_N is None:
        half_N = judging_half(amount_NLE.sum((1, 2), dtype=np.float64), domain_id_N, seed=seed)
    half_N = half_N.astype(int)
    amount_HLE = half_sums(amount_NLE, np.where(choosing_N, half_N, -1))
    if choosing_N.sum() < 2:
        half_N, amount_HLE = np.full_like(half_N, -1), amount_HLE.sum(0, keepdims=True)
    listed_HLE = np.stack(
        [chosen(amount_LE, choose, experts_L=experts_L) for amount_LE in amount_HLE]
    )
    return HeldOut(amount_NLE, domain_id_N, half_N, listed_HLE, experts_L)


def half_sums(amount_NLE: np.ndarray, half_N: np.ndarray) -> np.ndarray:
    """Amounts of each half [H, L, E]."""
    return np.stack([amount_NLE[half_N == half].sum(0, dtype=np.float64) for half in (0, 1)])


def chosen(amount_LE: np.ndarray, choose: Choose, *, experts_L: np.ndarray) -> np.ndarray:
    """listed_LE of all groups; a layer without an amount lists none."""
    listed_LE = np.zeros(amount_LE.shape, dtype=bool)
    for layer_id, count in enumerate(experts_L.tolist()):
        if amount_LE[layer_id].any():
            listed_LE[layer_id, :count] = choose(layer_id, amount_LE[layer_id, None, :count])[0]
    return listed_LE


def listed_share(
    amount_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    choose: Choose,
    *,
    experts_L: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """In which share of the resamples of groups an expert is on the list [L, E]; NaN where there is
    no expert, where a layer has no amounts, and with too few groups to say."""
    domains = int(domain_id_N.max(initial=0)) + 1
    of_layer = resampled_loads(
        amount_NLE, domain_id_N, num_domains=domains, resamples=RESAMPLES, seed=seed
    )
    share_LE = np.where(experts(amount_NLE.shape[1:], experts_L), 0.0, np.nan)
    share_LE[~amount_NLE.any((0, 2))] = np.nan
    if effective_number(amount_NLE.sum((1, 2), dtype=np.float64)) < MIN_EFFECTIVE:
        return np.full_like(share_LE, np.nan)

    def of_one(layer_id: int) -> None:
        count = int(experts_L[layer_id])
        if not np.isnan(share_LE[layer_id, 0]):
            amount_RE = of_layer(layer_id)[:count].sum(1).T
            share_LE[layer_id, :count] = choose(layer_id, amount_RE).mean(0)

    in_threads(of_one, len(experts_L))
    return share_LE


def least(keep_L: np.ndarray) -> Choose:
    """All but the so many of each layer with the largest amounts; of equal ones the first stay."""
    return lambda layer_id, amount_XE: _place(amount_XE) >= keep_L[layer_id]


def until(top_p: float) -> Choose:
    """ESFT's: the largest until their shares of the layer, to DECIMALS, add up to top_p."""
    ticks = 10**DECIMALS

    def choose(layer_id: int, amount_XE: np.ndarray) -> np.ndarray:
        share_XE = np.nan_to_num(normalized_over_experts(amount_XE.astype(np.float64)))
        score_XE = np.rint(share_XE * ticks)
        order_XE = np.argsort(-score_XE, axis=-1, kind="stable")
        ordered_XE = np.take_along_axis(score_XE, order_XE, -1)
        taken_XE = ordered_XE.cumsum(-1) - ordered_XE < top_p * ticks - 1e-12
        listed_XE = np.empty(amount_XE.shape, dtype=bool)
        np.put_along_axis(listed_XE, order_XE, taken_XE, -1)
        return listed_XE

    return choose


def overlap(
    first_LE: np.ndarray, second_LE: np.ndarray, experts_L: np.ndarray
) -> tuple[float, float]:
    """Dice's coefficient of two lists, and of random ones of the same sizes; NaN of empty lists."""
    size = (first_LE.sum() + second_LE.sum()) / 2
    if not size:
        return np.nan, np.nan
    by_chance = (first_LE.sum(-1) * second_LE.sum(-1) / experts_L).sum()
    return float((first_LE & second_LE).sum() / size), float(by_chance / size)


def _place(amount_XE: np.ndarray) -> np.ndarray:
    """Of each expert among those of its row, the largest amount first."""
    order_XE = np.argsort(-amount_XE, axis=-1, kind="stable")
    place_XE = np.empty_like(order_XE)
    np.put_along_axis(place_XE, order_XE, np.arange(amount_XE.shape[-1])[None], -1)
    return place_XE


def _extreme(
    amount_LE: np.ndarray, count_L: np.ndarray, experts_L: np.ndarray, *, most: bool
) -> float:
    """What so many experts of each layer have together at the most, or at the least."""
    total = 0.0
    for amount_E, count, known in zip(amount_LE, count_L, experts_L, strict=True):
        ascending_E = np.sort(amount_E[:known])
        total += float(ascending_E[known - count :].sum() if most else ascending_E[:count].sum())
    return total
