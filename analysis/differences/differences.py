"""What differs between two samples of groups of texts: loads, lifts, ratios.

All differences are the second's value minus the first's; docs/metrics.md argues every choice made
here. N = groups, L = MoE layers, E = routed experts, G = domains, P = ratios of one size, S = the
two samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.differences.strata import Amounts, Stratum, combined, strata
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.influence import HALF_CHOICE, log_lift
from analysis.layers import in_threads
from analysis.permutation import false_discovery_rate
from analysis.ratios import ROUNDING

NEVER = ("never chosen in the first", "never chosen in the second", "never chosen")
ALIKE = "the same in every text"


@dataclass(frozen=True, slots=True)
class Sample:
    """Choices of the groups of one trace; both samples number domains alike."""

    tokens_NLE: np.ndarray
    domain_id_N: np.ndarray
    experts_L: np.ndarray  # that each layer has
    size_NL: np.ndarray | None = None  # choices, where not all are of these experts

    def layer(self, layer_id: int) -> Amounts:
        tokens_NE = self.tokens_NLE[:, layer_id, : self.experts_L[layer_id]].astype(np.float64)
        size_N = tokens_NE.sum(-1) if self.size_NL is None else self.size_NL[:, layer_id]
        return Amounts(tokens_NE, size_N, self.domain_id_N)


def load_differences(first: Sample, second: Sample, *, paired: bool) -> pd.DataFrame:
    """A row a layer and expert: layer_id, expert_id, first, second (shares of the layer's choices),
    estimate, low, high (log2 of second / first, 95 %), p, q, note."""

    def of_layer(layer_id: int) -> pd.DataFrame:
        frame = _log_ratios(first.layer(layer_id), second.layer(layer_id), paired=paired)
        frame.insert(0, "expert_id", np.arange(len(frame)))
        frame.insert(0, "layer_id", layer_id)
        return frame

    return with_q(pd.concat(in_threads(of_layer, len(first.experts_L)), ignore_index=True))


def _log_ratios(first: Amounts, second: Amounts, *, paired: bool) -> pd.DataFrame:
    """log2 of the second's ratios over the first's; where one is 0, only a test."""
    ratio_SP = np.stack([first.ratio_P, second.ratio_P])
    if not (first.size and second.size):
        return _with_values(_unknown(ratio_SP.shape[1]), ratio_SP)
    some_P = (ratio_SP > 0).all(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_P = np.where(some_P, np.log2(ratio_SP[1] / ratio_SP[0]), np.nan)
        by_SP = np.where(some_P, 1 / (ratio_SP * np.log(2)), 0.0) / _sizes(first, second)
    error = _error(first, second, by_SP, ratio_SP, paired=paired)
    frame = _tested(log_P, *error, _null_p(first, second, paired=paired))
    zero_SP = ratio_SP == 0
    never = np.select([zero_SP.all(0), zero_SP[0], zero_SP[1]], [NEVER[2], *NEVER[:2]], "")
    frame.loc[zero_SP.all(0), "p"] = np.nan
    frame["note"] = np.where(never != "", never, frame.note)
    return _with_values(frame, ratio_SP)


def lift_differences(
    first: Sample, second: Sample, *, paired: bool, domains: Sequence[str]
) -> pd.DataFrame:
    """A row a layer, expert and domain: layer_id, expert_id, domain, first, second (log2 lifts),
    estimate, low, high (second - first, 95 %), p, q, note. Not tested in a domain of too few groups
    in one of the two."""
    both = (first, second)
    few_G = np.array(
        [
            min(_effective(of, domain_id) for of in both) < MIN_EFFECTIVE
            for domain_id in range(len(domains))
        ]
    )

    def of_layer(layer_id: int) -> pd.DataFrame:
        samples = [of.layer(layer_id) for of in both]
        cells = samples[0].amount_NP.shape[1], len(domains)
        sizes = [np.bincount(of.domain_id_N, of.size_N, len(domains)) for of in samples]
        lift_SEG = np.stack(
            [
                log_lift(by_domain(of, len(domains)), size_G)
                for of, size_G in zip(samples, sizes, strict=True)
            ]
        )
        if all(of.size for of in samples):
            parts = strata(*samples, paired=paired)
            error_EG, freedom_EG = _lift_errors(parts, cells)
            error_EG = np.where(few_G, np.nan, error_EG)
            columns = (lift_SEG[1] - lift_SEG[0], error_EG, freedom_EG, _lift_p(parts, cells))
            frame = _tested(*(values_EG.ravel() for values_EG in columns))
        else:
            frame = _unknown(cells[0] * cells[1])
        frame.insert(0, "domain", np.tile(np.array(domains, object), cells[0]))
        frame.insert(0, "expert_id", np.repeat(np.arange(cells[0]), cells[1]))
        frame.insert(0, "layer_id", layer_id)
        return _with_values(frame, lift_SEG.reshape(2, -1))

    return with_q(pd.concat(in_threads(of_layer, len(first.experts_L)), ignore_index=True))


def _effective(of: Sample, domain_id: int) -> float:
    own_NLE = of.tokens_NLE[of.domain_id_N == domain_id]
    return effective_number(own_NLE.sum((1, 2), dtype=np.int64))


def by_domain(of: Amounts, num_domains: int) -> np.ndarray:
    tokens_GE = np.zeros((num_domains, of.amount_NP.shape[1]))
    np.add.at(tokens_GE, of.domain_id_N, of.amount_NP)
    return tokens_GE.T


def _lift_errors(parts: list[Stratum], shape_EG: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of the differences of log2 lifts, and their freedom [E, G].

    The logarithm of a lift is that of the expert's share of the domain less that of its share of
    all: groups of the domain move both, all others the second alone. A domain that never chose an
    expert says nothing about its spread: the domain's other experts do.
    """
    error_EG, freedom_EG = np.full(shape_EG, np.nan), np.ones(shape_EG)
    load_SE = np.sum([of.amount_SP for of in parts], axis=0)
    size_S1 = np.sum([of.size_S for of in parts], axis=0)[:, None]
    ratio_SE = load_SE / np.maximum(size_S1, 1)
    rest_SE = -1 / (np.maximum(load_SE, HALF_CHOICE) * np.log(2))
    rest = [list(of.variances(rest_SE, ratio_SE)) for of in parts]
    for place, of in enumerate(parts):
        if of.domain_id < 0:
            continue
        own_SE = 1 / (np.maximum(of.amount_SP, HALF_CHOICE) * np.log(2)) + rest_SE
        own = [*of.variances(own_SE, of.amount_SP / np.maximum(of.size_S, 1e-300)[:, None])]
        own.extend(_unseen(of, ratio_SE))
        others = [part for other, found in enumerate(rest) if other != place for part in found]
        lengths = rest[place][1::2]
        error_EG[:, of.domain_id], freedom_EG[:, of.domain_id] = combined([*own, *others, *lengths])
    return error_EG, freedom_EG


def _lift_p(parts: list[Stratum], shape_EG: tuple[int, ...]) -> np.ndarray:
    """Of equal lifts [E, G]: the difference of the domain's ratios over their ratio together, less
    that of all, over its error if the ratios are the same."""
    size_S1 = np.sum([of.size_S for of in parts], axis=0)[:, None]
    load_SE = np.sum([of.amount_SP for of in parts], axis=0)
    ratio_E = load_SE.sum(0) / size_S1.sum()
    known_E = np.where(ratio_E > 0, ratio_E, 1.0)
    rest_SE = -1 / (known_E * np.maximum(size_S1, 1)) * np.ones_like(load_SE)
    rest = [of.null_variance(rest_SE, ratio_E) for of in parts]
    whole_E = np.diff(load_SE / np.maximum(size_S1, 1), axis=0)[0] / known_E
    p_EG = np.full(shape_EG, np.nan)
    for place, of in enumerate(parts):
        if of.domain_id < 0 or not of.size_S.all():
            continue
        size_S1, own_E = of.size_S[:, None], np.where(of.ratio_P > 0, of.ratio_P, 1.0)
        own_SE = 1 / (own_E * size_S1) + rest_SE
        variance_E = of.null_variance(own_SE, of.ratio_P) + sum(rest[:place] + rest[place + 1 :])
        moved_E = np.diff(of.amount_SP / size_S1, axis=0)[0] / own_E - whole_E
        p_EG[:, of.domain_id] = _two_sided(moved_E, variance_E, of.length_freedom)
        p_EG[of.amount_SP.sum(0) == 0, of.domain_id] = np.nan
    return p_EG


def _unseen(of: Stratum, ratio_SE: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | float]]:
    """What is not seen of the spread of experts that the domain never chose, by sample."""
    parts: list[tuple[np.ndarray, np.ndarray | float]] = []
    for place in range(2):
        expected_E = np.maximum(ratio_SE[place] * of.size_S[place], HALF_CHOICE)
        dispersion = of.variance_SP[place].sum() / max(of.amount_SP[place].sum(), 1)
        unseen_E = dispersion / (expected_E * np.log(2) ** 2)
        variance_E = np.where(of.amount_SP[place] == 0, unseen_E, 0.0)
        parts.append((variance_E, np.maximum(1 / np.maximum(unseen_E, 1e-9), 1)))
    return parts


def ratio_differences(first: Amounts, second: Amounts, *, paired: bool) -> pd.DataFrame:
    """A row a ratio: first, second (sum of amounts / sum of sizes), estimate, low, high (second -
    first, 95 %), p, note."""
    ratio_SP = np.stack([first.ratio_P, second.ratio_P])
    by_SP = np.ones_like(ratio_SP) / _sizes(first, second)
    error = _error(first, second, by_SP, ratio_SP, paired=paired)
    p_P = _null_p(first, second, paired=paired)
    return _with_values(_tested(ratio_SP[1] - ratio_SP[0], *error, p_P), ratio_SP)


def _sizes(first: Amounts, second: Amounts) -> np.ndarray:
    return np.maximum([[first.size], [second.size]], 1e-300)


def _error(
    first: Amounts, second: Amounts, by_SP: np.ndarray, ratio_SP: np.ndarray, *, paired: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of sums of by_SP times amounts, second less first, and their freedom [P]. NaN
    where too few groups of equal size decide."""
    if min(effective_number(of.size_N) for of in (first, second)) < MIN_EFFECTIVE:
        unknown_P = np.full(by_SP.shape[1], np.nan)
        return unknown_P, np.ones_like(unknown_P)
    parts = strata(first, second, paired=paired)
    return combined([part for of in parts for part in of.variances(by_SP, ratio_SP)])


def _null_p(first: Amounts, second: Amounts, *, paired: bool) -> np.ndarray:
    """Of equal ratios [P]: their difference over its error if they are the same."""
    parts = strata(first, second, paired=paired)
    ratio_SP = np.stack([first.ratio_P, second.ratio_P])
    together_P = np.sum([of.amount_SP for of in parts], axis=(0, 1)) / (first.size + second.size)
    by_SP = np.ones_like(ratio_SP) / _sizes(first, second)
    variance_P = np.sum([of.null_variance(by_SP, together_P) for of in parts], axis=0)
    freedom = min(effective_number(of.size_N) for of in (first, second)) - 1
    return _two_sided(ratio_SP[1] - ratio_SP[0], variance_P, max(freedom, 1.0))


def _two_sided(moved_P: np.ndarray, variance_P: np.ndarray, freedom: float) -> np.ndarray:
    """Student's; 1 where nothing moves."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p_P = 2 * special.stdtr(freedom, -np.abs(moved_P) / np.sqrt(variance_P))
    return np.where(np.abs(moved_P) < ROUNDING, 1.0, p_P)


def _tested(
    estimate_P: np.ndarray, error_P: np.ndarray, freedom_P: np.ndarray, p_P: np.ndarray
) -> pd.DataFrame:
    """estimate, low, high, p, note. An error that is rounding says that all groups agree."""
    alike_P = error_P <= ROUNDING * np.maximum(np.abs(estimate_P), 1e-3)
    reach_P = special.stdtrit(freedom_P, (1 + CONFIDENCE) / 2) * error_P
    reach_P = np.where(alike_P, np.nan, reach_P)
    frame = pd.DataFrame({"estimate": estimate_P, "low": estimate_P - reach_P})
    frame["high"] = estimate_P + reach_P
    frame["p"] = np.where(np.isnan(error_P), np.nan, p_P)
    frame["note"] = np.select([np.isnan(error_P), alike_P], [NOT_ENOUGH, ALIKE], "")
    return frame


def _unknown(number: int) -> pd.DataFrame:
    """As many rows of a layer in which one of the two has no choices."""
    frame = pd.DataFrame(np.full((number, 4), np.nan), columns=["estimate", "low", "high", "p"])
    return frame.assign(note=NOT_ENOUGH)


def _with_values(frame: pd.DataFrame, value_SP: np.ndarray) -> pd.DataFrame:
    """first and second, before the estimate."""
    place = list(frame.columns).index("estimate")
    frame.insert(place, "second", value_SP[1])
    frame.insert(place, "first", value_SP[0])
    return frame


def with_q(frame: pd.DataFrame) -> pd.DataFrame:
    """Of Benjamini and Hochberg over all rows, after the p."""
    frame.insert(
        list(frame.columns).index("p") + 1, "q", false_discovery_rate(frame.p.to_numpy(float))
    )
    return frame
