"""How evenly a layer spreads its tokens over its experts.

L = MoE layers, E = routed experts, G = domains, K = 0 to E experts of a token. Every metric reads
the last axis as the experts of one layer: tokens_LE gives a number a layer, tokens_LGE one a layer
and domain. NaN is a place that is no expert, of a layer with fewer than E; it counts for nothing,
and E below is the layer's own number.
"""

from dataclasses import dataclass

import numpy as np

from analysis.layers import known_experts
from analysis.permutation import false_discovery_rate
from analysis.refusals import no_tokens
from analysis.significance import MAX_Q

BUSIEST = 3  # experts


def load_imbalance(tokens_LE: np.ndarray) -> np.ndarray:
    """max / mean of each layer: 1 when balanced, E when one expert takes all."""
    return np.nanmax(tokens_LE, -1) / _mean(tokens_LE)


def max_violation(tokens_LE: np.ndarray) -> np.ndarray:
    """MaxVio of each layer: max / mean - 1, 0 when balanced (arXiv 2408.15664)."""
    return load_imbalance(tokens_LE) - 1


def gini(tokens_LE: np.ndarray) -> np.ndarray:
    """Mean difference of two experts over twice the mean: 0 when balanced, 1 - 1/E at most."""
    experts_L = known_experts(tokens_LE)
    place_LE = 2 * np.arange(1, tokens_LE.shape[-1] + 1) - experts_L[..., None] - 1
    ordered_LE = np.sort(tokens_LE, -1)  # NaN last
    return np.nansum(ordered_LE * place_LE, -1) / (experts_L**2 * _mean(tokens_LE))


def coefficient_of_variation(tokens_LE: np.ndarray) -> np.ndarray:
    """Standard deviation over experts / mean: 0 when balanced, sqrt(E - 1) at most."""
    return np.nanstd(tokens_LE, -1) / _mean(tokens_LE)


def normalized_entropy(tokens_LE: np.ndarray) -> np.ndarray:
    """Entropy of the load / log E: 1 when balanced, 0 when one expert takes all."""
    experts_L = known_experts(tokens_LE)
    share_LE = tokens_LE / (experts_L * _mean(tokens_LE))[..., None]
    log_share_LE = np.log(share_LE, where=share_LE > 0, out=np.zeros_like(share_LE))
    entropy_L = np.abs(np.nansum(share_LE * log_share_LE, -1)) / np.log(np.maximum(experts_L, 2))
    return np.where(experts_L == 1, 1.0, np.minimum(entropy_L, 1.0))  # at most 1 but for rounding


def busiest_share(tokens_LE: np.ndarray, n: int = BUSIEST) -> np.ndarray:
    """Share of the choices that went to the n busiest experts: n / E when balanced."""
    busiest_Ln = -np.sort(-tokens_LE, -1)[..., :n]
    return np.nansum(busiest_Ln, -1) / (known_experts(tokens_LE) * _mean(tokens_LE))


def dead_experts(tokens_LE: np.ndarray) -> np.ndarray:
    """Experts that no token chose; absence() says which of them are more than chance."""
    return (tokens_LE == 0).sum(-1)


def absence_chance(tokens_LK: np.ndarray) -> np.ndarray:
    """Chance that a balanced router chooses a given expert for none of these tokens [L].

    The product of 1 - k / E over tokens, from the tokens of each layer that run k = 0, ..., E
    experts. Tokens of a text resemble one another, so the true chance is larger.
    """
    experts_L1 = known_experts(tokens_LK)[..., None] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        log_LK = np.log1p(-np.arange(tokens_LK.shape[-1]) / experts_L1)
    power_LK = np.multiply(tokens_LK, log_LK, where=tokens_LK > 0, out=np.zeros(tokens_LK.shape))
    return np.exp(power_LK.sum(-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Which experts no token chose, and which of them are dead: more than chance leaves out."""

    never_LE: np.ndarray  # of layers with tokens
    dead_LE: np.ndarray
    expected_L: np.ndarray  # that a balanced router leaves out; NaN without tokens
    experts_L: np.ndarray

    def count(self) -> int:
        return int(self.never_LE.sum())

    def dead(self) -> int:
        return int(self.dead_LE.sum())

    def num_experts(self) -> int:
        """Of layers with tokens."""
        return int(self.experts_L[np.isfinite(self.expected_L)].sum())

    def by_chance(self) -> str:
        """How many a balanced router leaves out, in words."""
        return _amount(float(np.nansum(self.expected_L)))

    def clause(self) -> str:
        """How many were not chosen and what that means, to stand in a sentence."""
        if not self.count():
            return "no expert is dead"
        of = f"{self.count():,} of {self.num_experts():,} experts"
        chance = f"where a balanced router would leave out {self.by_chance()}"
        if self.dead() == self.count():
            return f"{of} {'is' if self.count() == 1 else 'are'} dead, {chance}"
        was = "was" if self.count() == 1 else "were"
        dead = f"{self.dead():,} of them" if self.dead() else "none"
        return f"{of} {was} not chosen, {chance} of so few tokens: {dead} can be called dead"

    def of_expert(self, layer_id: int, expert_id: int) -> str:
        """What its absence means; empty where it was chosen."""
        if not self.never_LE[layer_id, expert_id]:
            return ""
        chance = f"a balanced router leaves out {_amount(self.expected_L[layer_id])} of the layer"
        if self.dead_LE[layer_id, expert_id]:
            return f"dead: never chosen, {chance}"
        return f"not chosen, but {chance} with so few tokens"


def absence(tokens_LE: np.ndarray, tokens_LK: np.ndarray) -> Absence:
    """Dead: q < MAX_Q by absence_chance, Benjamini-Hochberg over the experts of all layers."""
    routed_L = np.nansum(tokens_LE, -1) > 0
    never_LE = (tokens_LE == 0) & routed_L[:, None]
    chance_L = np.where(routed_L, absence_chance(tokens_LK), np.nan)
    known_LE = routed_L[:, None] & ~np.isnan(tokens_LE)
    p_LE = np.where(never_LE, chance_L[:, None], np.where(known_LE, 1.0, np.nan))
    return Absence(
        never_LE=never_LE,
        dead_LE=never_LE & (false_discovery_rate(p_LE) < MAX_Q),
        expected_L=known_experts(tokens_LE) * chance_L,
        experts_L=known_experts(tokens_LE),
    )


def _amount(number: float) -> str:
    """Two figures, or that there is as good as none."""
    return "< 0.01" if number < 0.01 else f"{number:.2g}" if number < 10 else f"{number:,.0f}"


def dropped_share(tokens_LE: np.ndarray, dropped_LE: np.ndarray) -> np.ndarray:
    """Share of the choices of each layer that found their expert full."""
    asked_LE = tokens_LE + dropped_LE
    return np.nansum(dropped_LE, -1) / (known_experts(asked_LE) * _mean(asked_LE))


def _mean(tokens_LE: np.ndarray) -> np.ndarray:
    mean_L = np.asarray(np.nanmean(tokens_LE, -1))
    if (mean_L == 0).any():
        layer_id = np.argwhere(np.atleast_1d(mean_L) == 0)[0, 0]
        raise ValueError(no_tokens(layer_id))
    return mean_L
