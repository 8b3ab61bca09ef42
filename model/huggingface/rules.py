"""How a gate of transformers scores and selects, inferred from what it did and checked on it.

Configs name these things in many ways, and routers of one name have changed; what a gate gave can
only have come about in one of a few ways. Scores: of a token's chosen experts, the ratios of
mixing weights are those of softmax, sigmoid, sqrt(softplus) or of the logits themselves.
Selection: the K largest of scores, or of scores with one of the vectors [E] that lie about the
gate added, in all groups or some.

T = tokens, E = experts of the gate, K = chosen, G = groups.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.routing import EXPERT_GROUPS
from model.huggingface.around import number_called, vectors
from model.readable import GateRule

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x_TE: x_TE.softmax(-1),
    "sigmoid": torch.sigmoid,
    "sqrtsoftplus": lambda x_TE: F.softplus(x_TE).sqrt(),
    "probability": lambda x_TE: x_TE,
}
TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}  # of a ratio
ROUNDING = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # of what is compared
AGREEING = 0.995  # of tokens whose selection a rule explains, but for ties by rounding
UNKNOWN, TOKEN_ID = "unknown", "token id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A GateRule: how scores come from logits, weights from scores, and choices from both."""

    scoring: str  # of SCORES, or UNKNOWN
    normalized: bool | None = None  # the chosen weights sum to `scale`; None: neither that nor less
    scale: float = 1.0  # of the scores as they are, where not normalized
    factor_E: Tensor | None = None  # of each expert, on top
    fitted: bool = True  # weights are of this rule, not of one of the gate's own
    by: str | None = None  # what is compared: scores, logits; TOKEN_ID: nothing; None: not known
    bias_E: Tensor | None = None  # [L, 1, E] where stacked
    groups: int = 1
    groups_per_token: int = 1
    group_score: str = "top-2 sum"  # or "max"
    outside: float = -torch.inf  # what experts of other groups compare as
    tolerance: float = TOLERANCE[torch.float32]

    def scores(self, router_logits_TE: Tensor) -> Tensor:
        score = SCORES.get(self.scoring)
        if score is None:
            return torch.full_like(router_logits_TE, torch.nan)
        return score(router_logits_TE)

    def preference(self, scores_TE: Tensor) -> Tensor:
        if self.by in (None, TOKEN_ID):
            return torch.full_like(scores_TE, torch.nan)
        by_TE = scores_TE
        if self.by == "logits":
            by_TE = scores_TE.logit() if self.scoring == "sigmoid" else scores_TE.log()
        if self.bias_E is not None:
            by_TE = by_TE + self.bias_E.to(by_TE.device, by_TE.dtype)
        return by_TE if self.groups == 1 else self.within_groups(by_TE)

    def within_groups(self, by_TE: Tensor) -> Tensor:
        by_TGe = by_TE.unflatten(-1, (self.groups, -1))
        best = 1 if self.group_score == "max" else min(2, by_TGe.shape[-1])
        best_TM = by_TGe.topk(best, dim=-1).values.sum(-1).topk(self.groups_per_token, -1).indices
        closed_TG = torch.ones_like(by_TGe[..., 0], dtype=torch.bool).scatter(-1, best_TM, False)
        return by_TGe.masked_fill(closed_TG.unsqueeze(-1), self.outside).flatten(-2)

    def kept(self, scores_TK: Tensor, *, min_k: int, max_k: int) -> Tensor:
        return torch.ones_like(scores_TK, dtype=torch.bool)

    def weights(self, scores_TK: Tensor, expert_ids_TK: Tensor) -> Tensor:
        """Of chosen experts with these scores."""
        if self.normalized is None:
            raise ValueError(
                f"how this gate makes weights of scores ({self.weighting}) is not known"
            )
        if self.normalized:
            scores_TK = scores_TK / scores_TK.sum(-1, keepdim=True)
        weights_TK = self.scale * scores_TK
        if self.factor_E is None:
            return weights_TK
        return weights_TK * self.factor_E.to(weights_TK.device)[expert_ids_TK]

    @property
    def weigh(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.weights

    def explains(
        self, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor
    ) -> Tensor | None:
        """Whether the weights of each token are those of its scores [T]; None: no rule is known."""
        if not self.fitted or self.scoring == UNKNOWN:
            return None
        return misfit(self, scores_TE, expert_ids_TK, weights_TK) <= self.tolerance

    def alike(self, other: GateRule) -> bool:
        if not isinstance(other, Rule) or self.factor_E is not None or other.factor_E is not None:
            return False
        biased = self.bias_E is not None, other.bias_E is not None
        return biased[0] == biased[1] and replace(self, bias_E=None) == replace(other, bias_E=None)

    def stacked(self, rules: Sequence[GateRule]) -> "Rule":
        biases = [x.bias_E for x in rules if isinstance(x, Rule) and x.bias_E is not None]
        return replace(self, bias_E=torch.stack(biases).unsqueeze(1)) if biases else self

    @property
    def weighting(self) -> str:
        times = "" if abs(self.scale - 1) < 1e-3 else f", times {self.scale:.4g}"
        each = "" if self.factor_E is None else ", times a factor of the expert"
        if not self.fitted:
            return "by a rule of its own"
        if self.normalized is None:
            known = self.scoring != UNKNOWN
            return f"scores, rescaled from token to token{each}" if known else UNKNOWN
        return f"scores{' that sum to 1' if self.normalized else ''}{times}{each}"

    @property
    def selection(self) -> str:
        if self.by is None:
            return UNKNOWN
        bias = "" if self.bias_E is None else " plus bias"
        inside = "" if self.groups == 1 else f" in {self.groups_per_token} of {self.groups} groups"
        return f"{self.by}{bias}{inside}"


def misfit(rule: Rule, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """Largest difference of a token's weights from its scores, both as shares of their sum, over
    the larger of the two [T]."""
    chosen_TK = scores_TE.gather(-1, expert_ids_TK)
    if rule.factor_E is not None:
        chosen_TK = chosen_TK * rule.factor_E.to(chosen_TK.device)[expert_ids_TK]
    given_TK = weights_TK.float()
    if expert_ids_TK.shape[-1] == 1 or (not rule.normalized and rule.normalized is not None):
        expected_TK = rule.weights(scores_TE.gather(-1, expert_ids_TK), expert_ids_TK)
    else:
        expected_TK = chosen_TK * (given_TK.sum(-1, keepdim=True) / chosen_TK.sum(-1, keepdim=True))
    larger_TK = torch.maximum(expected_TK.abs(), given_TK.abs())
    apart_TK = (expected_TK - given_TK).abs() / larger_TK.clamp_min(1e-6)
    return apart_TK.amax(-1)


def inferred(
    logits_TE: Tensor,
    expert_ids_TK: Tensor,
    weights_TK: Tensor,
    *,
    around: list[nn.Module],
    scoring: str | None = None,
) -> Rule:
    """The rule that explains these choices. `around`: the gate and what holds it, where selection
    biases and numbers of groups are looked for. `scoring`: of a gate whose weights come from its
    scores in a way of its own."""
    tolerance = max(TOLERANCE[x.dtype] for x in (logits_TE, weights_TK))
    rule = inferred_scoring(
        logits_TE.float(), expert_ids_TK, weights_TK.float(), tolerance=tolerance, around=around
    )
    if rule.scoring == UNKNOWN and scoring is not None:
        rule = Rule(scoring=scoring, fitted=False)
    tables = (x for x in around[0].buffers() if x.dim() == 2 and not x.is_floating_point())
    if any(table.shape[1] == expert_ids_TK.shape[1] for table in tables):
        return replace(rule, by=TOKEN_ID)
    rounding = max(ROUNDING[x.dtype] for x in (logits_TE, weights_TK))
    return inferred_selection(
        rule, logits_TE.float(), expert_ids_TK, rounding=rounding, around=around
    )


def inferred_scoring(
    logits_TE: Tensor,
    expert_ids_TK: Tensor,
    weights_TK: Tensor,
    *,
    tolerance: float,
    around: list[nn.Module],
) -> Rule:
    """Of all that explain the weights the closest one."""
    best: tuple[float, Rule] = (tolerance, Rule(scoring=UNKNOWN, tolerance=tolerance))
    num_experts = logits_TE.shape[-1]
    factors = [None, *(x for name, x in vectors(around, num_experts) if "scale" in name)]
    for scoring, score in SCORES.items():
        scores_TE = score(logits_TE)
        if scoring == "probability" and not is_distribution(scores_TE):
            continue
        for factor_E in factors:
            rule = Rule(scoring=scoring, factor_E=factor_E, tolerance=tolerance)
            rule = with_weighting(rule, scores_TE, expert_ids_TK, weights_TK)
            if expert_ids_TK.shape[1] == 1 and rule.normalized in (True, None):
                continue  # one weight that is always the same says nothing of scores
            apart = float(misfit(rule, scores_TE, expert_ids_TK, weights_TK).nan_to_num(1).amax())
            if apart < best[0]:
                best = apart, rule
    return best[1]


def is_distribution(scores_TE: Tensor) -> bool:
    return bool((scores_TE >= 0).all() and (scores_TE.sum(-1) - 1).abs().amax() < 1e-2)


def with_weighting(
    rule: Rule, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor
) -> Rule:
    """Whether weights sum to one number, or are one number of their scores; else neither."""
    chosen_TK = scores_TE.gather(-1, expert_ids_TK)
    given_TK = weights_TK
    if rule.factor_E is not None:
        given_TK = given_TK / rule.factor_E.to(given_TK.device)[expert_ids_TK]
    for normalized, values_T in (
        (False, given_TK.sum(-1) / chosen_TK.sum(-1)),
        (True, given_TK.sum(-1)),
    ):
        middle = float(values_T.median())
        if ((values_T - middle).abs() <= rule.tolerance * abs(middle)).all():
            return replace(rule, normalized=normalized, scale=near_round(middle, rule.tolerance))
    return rule


def near_round(value: float, tolerance: float) -> float:
    """A scale is a number that somebody wrote down, most often 1."""
    if abs(value - 1) <= tolerance:
        return 1.0
    rounded = round(value, 3)
    return rounded if abs(value - rounded) <= tolerance * abs(value) else value


def inferred_selection(
    rule: Rule,
    logits_TE: Tensor,
    expert_ids_TK: Tensor,
    *,
    rounding: float,
    around: list[nn.Module],
) -> Rule:
    """Of all that explain the choices but for ties by rounding, the one that has the fewest."""
    scores_TE = rule.scores(logits_TE)
    best: tuple[float, Rule] = (-1.0, rule)
    for candidate in selections(rule, logits_TE.shape[-1], around):
        preference_TE = candidate.preference(scores_TE)
        top_TK, preferred_TK = preference_TE.topk(expert_ids_TK.shape[1], -1)
        same_T = (preferred_TK.sort(-1).values == expert_ids_TK.sort(-1).values).all(-1)
        agreeing = float(same_T.float().mean())
        if agreeing == 1:
            return candidate
        short_T = top_TK[:, -1] - preference_TE.gather(-1, expert_ids_TK).amin(-1)
        tied_T = short_T <= rounding * top_TK.abs().amax(-1)
        if agreeing > best[0] and (same_T | tied_T).float().mean() > AGREEING:
            best = agreeing, candidate
    return best[1]


def selections(rule: Rule, num_experts: int, around: list[nn.Module]) -> Iterator[Rule]:
    """The simplest first."""
    if rule.scoring == UNKNOWN:
        return
    biases = [None, *(x for name, x in vectors(around, num_experts) if "bias" in name)]
    grouped: list[dict[str, Any]] = [{}, *groupings(around, num_experts)]
    for grouping in grouped:
        for by in ("scores", "logits"):
            for bias_E in biases:
                yield replace(rule, by=by, bias_E=bias_E, **grouping)


def groupings(around: list[nn.Module], num_experts: int) -> Iterator[dict[str, Any]]:
    groups = number_called(EXPERT_GROUPS, around)
    chosen = number_called(("topk_group", "topk_groups", "num_limited_groups"), around)
    if not groups or not chosen or groups < 2 or num_experts % groups or chosen > groups:
        return
    for outside in (-torch.inf, 0.0):
        for group_score in ("top-2 sum", "max"):
            yield {
                "groups": groups,
                "groups_per_token": chosen,
                "group_score": group_score,
                "outside": outside,
            }
