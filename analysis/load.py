"""How evenly a layer spreads its tokens over its experts.

L = MoE layers, E = routed experts, G = domains, K = 0 to E experts of a token. Every metric reads
the last axis as the experts of one layer: tokens_LE gives a number a layer, tokens_LGE one a layer
and domain.
"""

from dataclasses import dataclass

import numpy as np

from analysis.permutation import false_discovery_rate
from analysis.significance import MAX_Q


def load_imbalance(tokens_LE: np.ndarray) -> np.ndarray:
    """max / mean of each layer: 1 when balanced, E when one expert takes all."""
    return tokens_LE.max(-1) / _mean(tokens_LE)


def max_violation(tokens_LE: np.ndarray) -> np.ndarray:
    """MaxVio of each layer: max / mean - 1, 0 when balanced (arXiv 2408.15664)."""
    return load_imbalance(tokens_LE) - 1


def gini(tokens_LE: np.ndarray) -> np.ndarray:
    """Mean difference of two experts over twice the mean: 0 when balanced, 1 - 1/E at most."""
    num_experts = tokens_LE.shape[-1]
    place_E = 2 * np.arange(1, num_experts + 1) - num_experts - 1
    return (np.sort(tokens_LE, -1) * place_E).sum(-1) / (num_experts**2 * _mean(tokens_LE))


def coefficient_of_variation(tokens_LE: np.ndarray) -> np.ndarray:
    """Standard deviation over experts / mean: 0 when balanced, sqrt(E - 1) at most."""
    return tokens_LE.std(-1) / _mean(tokens_LE)


def normalized_entropy(tokens_LE: np.ndarray) -> np.ndarray:
    """Entropy of the load / log E: 1 when balanced, 0 when one expert takes all."""
    num_experts = tokens_LE.shape[-1]
    if num_experts == 1:
        return np.ones_like(_mean(tokens_LE))
    share_LE = tokens_LE / (num_experts * _mean(tokens_LE)[..., None])
    log_share_LE = np.log(share_LE, where=share_LE > 0, out=np.zeros_like(share_LE))
    entropy_L = np.abs((share_LE * log_share_LE).sum(-1)) / np.log(num_experts)
    return np.minimum(entropy_L, 1.0)  # rounding


def busiest_share(tokens_LE: np.ndarray, n: int = 3) -> np.ndarray:
    """Share of the choices that went to the n busiest experts: n / E when balanced."""
    busiest_Ln = np.sort(tokens_LE, -1)[..., -n:]
    return busiest_Ln.sum(-1) / (tokens_LE.shape[-1] * _mean(tokens_LE))


def dead_experts(tokens_LE: np.ndarray) -> np.ndarray:
    """Experts that no token chose; absence() says which of them are more than chance."""
    return (tokens_LE == 0).sum(-1)


def absence_chance(tokens_LK: np.ndarray) -> np.ndarray:
    """Chance that a balanced router chooses a given expert for none of these tokens [L].

    The product of 1 - k / E over tokens, from the tokens of each layer that run k = 0, ..., E
    experts. Tokens of a text resemble one another, so the true chance is larger.
    """
    num_experts = tokens_LK.shape[-1] - 1
    with np.errstate(divide="ignore"):
        log_K = np.log1p(-np.arange(num_experts + 1) / num_experts)
    power_LK = np.multiply(tokens_LK, log_K, where=tokens_LK > 0, out=np.zeros(tokens_LK.shape))
    return np.exp(power_LK.sum(-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Which experts no token chose, and which of them are dead: more than chance leaves out."""

    never_LE: np.ndarray  # of layers with tokens
    dead_LE: np.ndarray
    expected_L: np.ndarray  # that a balanced router leaves out; NaN without tokens

    def count(self) -> int:
        return int(self.never_LE.sum())

    def dead(self) -> int:
        return int(self.dead_LE.sum())

    def num_experts(self) -> int:
        return int(np.isfinite(self.expected_L).sum()) * self.never_LE.shape[-1]

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
    routed_L = tokens_LE.sum(-1) > 0
    never_LE = (tokens_LE == 0) & routed_L[:, None]
    chance_L = np.where(routed_L, absence_chance(tokens_LK), np.nan)
    p_LE = np.where(never_LE, chance_L[:, None], np.where(routed_L[:, None], 1.0, np.nan))
    return Absence(
        never_LE=never_LE,
        dead_LE=never_LE & (false_discovery_rate(p_LE) < MAX_Q),
        expected_L=tokens_LE.shape[-1] * chance_L,
    )


def _amount(number: float) -> str:
    """Two figures, or that there is as good as none."""
    return "< 0.01" if number < 0.01 else f"{number:.2g}" if number < 10 else f"{number:,.0f}"


def dropped_share(tokens_LE: np.ndarray, dropped_LE: np.ndarray) -> np.ndarray:
    """Share of the choices of each layer that found their expert full."""
    asked_LE = tokens_LE + dropped_LE
    return dropped_LE.sum(-1) / (asked_LE.shape[-1] * _mean(asked_LE))


def _mean(tokens_LE: np.ndarray) -> np.ndarray:
    mean_L = np.asarray(tokens_LE.mean(-1))
    if (mean_L == 0).any():
        layer_id = np.argwhere(np.atleast_1d(mean_L) == 0)[0, 0]
        raise ValueError(
            f"layer {layer_id} has no routed tokens; capture a trace with tokens, or choose "
            "another domain or phase"
        )
    return mean_L
