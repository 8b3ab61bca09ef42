"""Whether an expert matters to its domain more than as many choices of other experts would: the
change of loss when no token may choose it.

N = groups (of the half that judges), E = routed experts of a layer, C = controls. Changes are nats.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.controls import MIN_CONTROLS, matched_controls, random_order
from analysis.groups import effective_number
from analysis.halves import MIN_HALF
from analysis.rank_tests import Standing, rank_p, standing
from analysis.ratios import Ratio, ratio, stratified_ratio

DOUBLE = "double difference"
GROUPS = ("own", "others", "controls' own", "controls' others", "own - others", DOUBLE)
DECISIVE = ("own", "own - others", DOUBLE)
AMOUNTS = ("estimate", "low", "high", "p", "per_choice", "per_choice_low", "per_choice_high")

Claim = tuple[int, int, str]  # layer, expert, domain


@dataclass(frozen=True, slots=True)
class LayerChanges:
    """What leaving out single experts of one layer did to each group of texts."""

    change_EN: np.ndarray  # nats; NaN: not left out
    choices_EN: np.ndarray
    tokens_N: np.ndarray
    documents_N: np.ndarray  # texts of the group
    domain_N: np.ndarray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its variance, and how many observations tell the variance."""

    value: float
    variance: float
    freedom: float

    def __sub__(self, other: "Estimate") -> "Estimate":
        """Of two samples, with Welch and Satterthwaite's freedom."""
        parts = [(of.variance, of.freedom) for of in (self, other)]
        variance = self.variance + other.variance
        weights = sum(part**2 / freedom for part, freedom in parts)
        return Estimate(
            self.value - other.value, variance, variance**2 / weights if weights > 0 else np.nan
        )

    def interval(self) -> tuple[float, float]:
        if not self.variance > 0:
            return np.nan, np.nan
        reach = float(special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2) * np.sqrt(self.variance))
        return self.value - reach, self.value + reach

    def p(self) -> float:
        """Two-sided, of 0: below 0.05 where the interval leaves 0 out."""
        if not self.variance > 0:
            return np.nan
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / np.sqrt(self.variance)))


def claim_controls(
    choices_EN: np.ndarray,
    domain_N: np.ndarray,
    claim: Claim,
    claims: Iterable[Claim],
    *,
    among: Collection[int] | None = None,
    seed: int = 0,
) -> list[int]:
    """The experts of its layer that a claim is compared with, drawn among those named (None: all)
    that have choices in and outside its domain; claims of the domain are left out."""
    layer_id, expert_id, domain = claim
    own_N = domain_N == domain
    taken = {expert for layer, expert, of in claims if (layer, of) == (layer_id, domain)}
    elsewhere_E = choices_EN[:, ~own_N].sum(1)
    candidates = [
        expert
        for expert in random_order(len(choices_EN), layer_id=layer_id, seed=seed)
        if expert not in taken and elsewhere_E[expert] > 0 and (among is None or expert in among)
    ]
    return matched_controls(choices_EN[:, own_N].sum(1), expert_id, candidates)


def cause_table(
    layers: Mapping[int, LayerChanges],
    targets: Iterable[Claim],
    claims: Iterable[Claim],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Six rows a target, by `group`: own, others, controls' own, controls' others (what as many
    choices of the controls cost), own - others, double difference: (own - others) - (controls' own
    - controls' others). Then a row, the double difference, of every control put to the same test
    (claimed: False).

    layer_id, expert_id, domain, claimed, group, estimate, low, high (nats a token), p (of the
    double difference by its rank among the controls, else Student's), per_choice, per_choice_low,
    per_choice_high (nats a choice taken away), n_groups, n_documents, n_tokens, n_choices, clear
    (own, own - others and the double difference all have intervals above 0; missing where one has
    none), controls, n_controls, n_above (controls whose double difference is as large),
    control_choices (median choices of the controls in the own domain, over the expert's).
    """
    claims = set(claims)
    cells = [_cell(layers, target, claims, seed=seed) for target in dict.fromkeys(targets)]
    references = [cell for cell in cells if cell.standing is not None]
    unclaimed = {
        (cell.claim[0], control, cell.claim[2]) for cell in references for control in cell.controls
    }
    compared = [
        _cell(layers, claim, claims, seed=seed)
        for claim in sorted(unclaimed - {cell.claim for cell in cells})
    ]
    p = rank_p(
        [cell.standing for cell in references],
        [cell.standing for cell in cells + compared],
        num_controls=len(unclaimed),
    )
    rows = [
        row
        for place, (cell, value) in enumerate(zip(cells + compared, p, strict=True))
        for row in cell.rows(value, claimed=place < len(cells))
    ]
    return typed(pd.DataFrame(rows))


@dataclass(frozen=True, slots=True)
class _Cell:
    """An expert and a domain, measured."""

    claim: Claim
    controls: list[int]
    control_choices: float
    per_token: dict[str, Estimate]
    per_choice: dict[str, Estimate]
    counts: dict[str, dict[str, int]]
    standing: Standing | None
    enough: bool

    def rows(self, rank: float, *, claimed: bool) -> list[dict[str, object]]:
        layer_id, expert_id, domain = self.claim
        lows = [self.per_token[name].interval()[0] for name in DECISIVE]
        known = self.enough and not np.isnan(lows).any()
        whole = {
            "clear": bool(np.min(lows) > 0) if known else None,
            "controls": " ".join(map(str, self.controls)),
            "n_controls": len(self.controls),
            "n_above": self.standing.above if self.standing else None,
            "control_choices": self.control_choices,
        }
        name = {"layer_id": layer_id, "expert_id": expert_id, "domain": domain, "claimed": claimed}
        return [
            name | {"group": group} | self._figures(group, rank) | self.counts[group] | whole
            for group in (GROUPS if claimed else (DOUBLE,))
        ]

    def _figures(self, group: str, rank: float) -> dict[str, float]:
        token, choice = self.per_token[group], self.per_choice[group]
        low, high = token.interval() if self.enough else (np.nan, np.nan)
        choice_low, choice_high = choice.interval() if self.enough else (np.nan, np.nan)
        p = rank if group == DOUBLE else token.p()
        return {
            "estimate": token.value,
            "low": low,
            "high": high,
            "p": p if self.enough else np.nan,
            "per_choice": choice.value,
            "per_choice_low": choice_low,
            "per_choice_high": choice_high,
        }


def _cell(
    layers: Mapping[int, LayerChanges], claim: Claim, claims: set[Claim], *, seed: int
) -> _Cell:
    layer_id, expert_id, domain = claim
    layer = layers[layer_id]
    own_N = layer.domain_N == domain
    left_out = np.flatnonzero(~np.isnan(layer.change_EN[:, 0])).tolist()
    controls = claim_controls(
        layer.choices_EN, layer.domain_N, claim, claims, among=left_out, seed=seed
    )
    own, others = (_part(layer, expert_id, controls, of_N) for of_N in (own_N, ~own_N))
    enough = min(effective_number(layer.tokens_N[of_N]) for of_N in (own_N, ~own_N)) >= MIN_HALF
    choices_E = layer.choices_EN[:, own_N].sum(1)
    ratios = choices_E[controls] / max(choices_E[expert_id], 1)
    return _Cell(
        claim=claim,
        controls=controls,
        control_choices=float(np.median(ratios)) if controls else np.nan,
        per_token=_figures(own.per_token, others.per_token),
        per_choice=_figures(own.per_choice, others.per_choice),
        counts=_counts(layer, expert_id, own_N),
        standing=_standing(own.per_token, others.per_token)
        if enough and len(controls) >= MIN_CONTROLS
        else None,
        enough=enough,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Of the own domain or of the others: the ratios of the expert, the mean of its controls, the
    difference of the two, and every control."""

    per_token: Ratio
    per_choice: Ratio


def _part(layer: LayerChanges, expert_id: int, controls: list[int], of_N: np.ndarray) -> _Part:
    tokens_N = layer.tokens_N[of_N]
    own_N = layer.change_EN[expert_id, of_N]
    choices_N = layer.choices_EN[expert_id, of_N].astype(np.float64)
    change_NC = layer.change_EN[controls][:, of_N].T
    scaled_NC = _at_choices(change_NC, layer.choices_EN[controls][:, of_N].T, choices_N)
    mean_N = scaled_NC.mean(1) if controls else np.full(len(own_N), np.nan)
    amounts_NP = np.column_stack([own_N, mean_N, own_N - mean_N, scaled_NC])
    chosen_NP = amounts_NP[:, :3] if choices_N.any() else np.full((len(choices_N), 3), np.nan)
    return _Part(ratio(amounts_NP, tokens_N), ratio(chosen_NP, choices_N))


def _at_choices(
    change_NC: np.ndarray, control_choices_NC: np.ndarray, choices_N: np.ndarray
) -> np.ndarray:
    """What the controls' choices cost, for as many choices as the expert has: nats per choice of
    the control times the expert's choices. The sum over groups is exact; a group holds its
    influence on that sum, so that the spread over groups is that of the product."""
    sum_C = np.maximum(control_choices_NC.sum(0), 1)
    worth_C = change_NC.sum(0) / sum_C
    residual_NC = change_NC - worth_C * control_choices_NC
    return worth_C * choices_N[:, None] + choices_N.sum() / sum_C * residual_NC


def _figures(own: Ratio, others: Ratio) -> dict[str, Estimate]:
    mine, their, beyond = (
        tuple(
            Estimate(float(of.estimate_P[at]), float(of.variance_P[at]), float(of.freedom_P[at]))
            for of in (own, others)
        )
        for at in range(3)
    )
    every = (*mine, *their, mine[0] - mine[1], beyond[0] - beyond[1])
    return dict(zip(GROUPS, every, strict=True))


def _standing(own: Ratio, others: Ratio) -> Standing:
    difference_P = own.estimate_P - others.estimate_P
    variance_P = own.variance_P + others.variance_P
    return standing(difference_P[0], variance_P[0], difference_P[3:], variance_P[3:])


def _counts(layer: LayerChanges, expert_id: int, own_N: np.ndarray) -> dict[str, dict[str, int]]:
    everywhere_N = np.ones_like(own_N)
    members = (own_N, ~own_N, own_N, ~own_N, everywhere_N, everywhere_N)
    return {
        group: {
            "n_groups": int(of_N.sum()),
            "n_documents": int(layer.documents_N[of_N].sum()),
            "n_tokens": int(layer.tokens_N[of_N].sum()),
            "n_choices": int(layer.choices_EN[expert_id, of_N].sum()),
        }
        for group, of_N in zip(GROUPS, members, strict=True)
    }


def domain_changes(
    change_N: np.ndarray,
    tokens_N: np.ndarray,
    documents_N: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
) -> pd.DataFrame:
    """A row a domain with groups: domain, estimate, low, high, p (of no change), n_groups,
    n_documents, n_tokens."""
    rows = []
    for domain_id in np.unique(domain_id_N):
        of_N = domain_id_N == domain_id
        rows.append(
            {
                "domain": domains[domain_id],
                **change_figures(change_N[of_N], tokens_N[of_N], np.zeros(of_N.sum(), int)),
                "n_groups": int(of_N.sum()),
                "n_documents": int(documents_N[of_N].sum()),
                "n_tokens": int(tokens_N[of_N].sum()),
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(AMOUNTS[:4], "Float64"))


def change_figures(
    change_N: np.ndarray, tokens_N: np.ndarray, domain_id_N: np.ndarray
) -> dict[str, float]:
    """estimate, low, high, p of a change in nats a token; groups are a sample of their domain."""
    change = Estimate(*stratified_ratio(change_N, tokens_N, domain_id_N))
    low, high = change.interval()
    return {"estimate": change.value, "low": low, "high": high, "p": change.p()}


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """A cause_table with missing values as such, not as NaN or None."""
    types = dict.fromkeys((*AMOUNTS, "control_choices"), "Float64")
    return table.astype(types | {"clear": "boolean", "n_above": "Int64"})
