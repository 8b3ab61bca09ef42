"""Which domains an expert prefers, and how much the expert tells about the domain.

L = MoE layers, E = routed experts, G = domains. A share is of choices: a token counts once for
every expert that it chose. The corpus of a layer is the sum of its experts, so uneven domains
cancel out of a lift. A dead expert has no profile: its row is NaN. A place that is no expert, of a
layer with fewer than E, is NaN in tokens_LEG already and counts for nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.refusals import one_domain
from data.labels import NONE, TOO_LITTLE

NO_DOMAIN = -1  # the label of an expert that prefers no single domain: NONE
TOO_FEW = -2  # of an expert with too few choices to say: TOO_LITTLE
NO_SUCH = -3  # of a place that is no expert

# docs/metrics.md argues these
MIN_LIFT = 1.5
MIN_MARGIN = 1.1
MIN_DOMAIN_TOKENS = 100
MIN_DIVERGENCE = 0.02  # bits
MIN_PROFILE_TOKENS = 1000

TRIED_FIRST = 6  # neighbours of an expert
HELLINGER_ROUNDING = 2e-6  # of float32


def domain_share(tokens_LEG: np.ndarray) -> np.ndarray:
    """p(domain | expert) [L, E, G]: the rows of living experts add up to 1."""
    return _divide(tokens_LEG, tokens_LEG.sum(-1, keepdims=True))


def corpus_share(tokens_LEG: np.ndarray) -> np.ndarray:
    """p(domain) in each layer [L, G]."""
    tokens_LG = np.nansum(tokens_LEG, -2)
    _require_tokens(tokens_LG)
    return tokens_LG / tokens_LG.sum(-1, keepdims=True)


def domain_lift(tokens_LEG: np.ndarray) -> np.ndarray:
    """p(domain | expert) / p(domain) [L, E, G]: 1 when independent; NaN if the domain is empty."""
    return _divide(domain_share(tokens_LEG), corpus_share(tokens_LEG)[..., None, :])


def jensen_shannon(tokens_LEG: np.ndarray) -> np.ndarray:
    """Divergence of each expert's domains from the corpus's [L, E], bits in [0, 1]."""
    return _divergence(domain_share(tokens_LEG), corpus_share(tokens_LEG)[..., None, :])


def mutual_information(tokens_LEG: np.ndarray) -> np.ndarray:
    """I(expert; domain) of each layer in nats: 0 when the experts do not depend on the domain."""
    corpus_LG = corpus_share(tokens_LEG)
    joint_LEG = tokens_LEG / np.nansum(tokens_LEG, (-2, -1), keepdims=True)
    load_LE = joint_LEG.sum(-1)
    independent_LEG = load_LE[..., None] * corpus_LG[..., None, :]
    ratio_LEG = np.divide(
        joint_LEG, independent_LEG, where=joint_LEG > 0, out=np.ones_like(joint_LEG)
    )
    return np.maximum(np.nansum(joint_LEG * np.log(ratio_LEG), (-2, -1)), 0.0)


def information_share(tokens_LEG: np.ndarray) -> np.ndarray:
    """I(expert; domain) / H(domain) of each layer, in [0, 1]."""
    _require_domains(tokens_LEG)
    return mutual_information(tokens_LEG) / _entropy(corpus_share(tokens_LEG))


def distinct_share(
    tokens_LEG: np.ndarray,
    *,
    min_divergence: float = MIN_DIVERGENCE,
    min_tokens: int = MIN_PROFILE_TOKENS,
) -> np.ndarray:
    """Share of each layer's experts whose domains differ from those of every other expert [L].

    Distinct: at least min_tokens choices, and at least min_divergence bits from the nearest other.
    Dead experts are not distinct, and nobody's neighbour.
    """
    _require_domains(tokens_LEG)
    known_LE = tokens_LEG.sum(-1) >= min_tokens
    if not known_LE.any(-1).all():
        raise ValueError(too_few_choices(int(np.argmin(known_LE.any(-1))), min_tokens))
    tokens = np.nan_to_num(tokens_LEG)
    distinct_LE = np.stack(
        [
            distinct_experts(tokens_EG[..., None], known_E[:, None], min_divergence)[:, 0]
            for tokens_EG, known_E in zip(tokens, known_LE, strict=True)
        ]
    )
    return distinct_LE.sum(-1) / (~np.isnan(tokens_LEG).any(-1)).sum(-1)


def distinct_experts(
    tokens_EGR: np.ndarray, known_ER: np.ndarray, min_divergence: float = MIN_DIVERGENCE
) -> np.ndarray:
    """Which of the known experts are at least min_divergence from every other living one [E, R].

    With h^2 = 1 - sum of sqrt(p q), the squared Hellinger distance, h^2 <= divergence in bits <=
    h^2 / log 2: few pairs need more. The nearest on average are tried first.
    """
    root_EGR = np.sqrt(_over(tokens_EGR, tokens_EGR.sum(1, keepdims=True)))
    mean_EG = root_EGR.mean(-1)
    likeness_EE = mean_EG @ mean_EG.T
    np.fill_diagonal(likeness_EE, -1)
    surely_near = 1 - min_divergence * np.log(2) + HELLINGER_ROUNDING
    open_ER = known_ER.copy()
    if root_EGR.shape[-1] > 1 and len(root_EGR) > TRIED_FIRST:
        nearest_EC = np.argsort(-likeness_EE, -1)[:, :TRIED_FIRST]
        for other_E in nearest_EC.T:
            near_ER = np.einsum("egr,egr->er", root_EGR, root_EGR[other_E]) > surely_near
            open_ER &= ~near_ER
            if not open_ER.any():
                return open_ER
    root_REG = np.ascontiguousarray(np.moveaxis(root_EGR, -1, 0))
    unsure = []
    for resample, root_EG in enumerate(root_REG):
        rows = np.flatnonzero(open_ER[:, resample])
        if not rows.size:
            continue
        like_EE = root_EG[rows] @ root_EG.T
        like_EE[np.arange(len(rows)), rows] = -1
        most_E = like_EE.max(-1)
        open_ER[rows[most_E > surely_near], resample] = False
        maybe = (most_E <= surely_near) & (most_E >= 1 - min_divergence - HELLINGER_ROUNDING)
        place, other = np.nonzero(like_EE[maybe] >= 1 - min_divergence - HELLINGER_ROUNDING)
        unsure.append(np.stack([np.full(len(place), resample), rows[maybe][place], other]))
    if unsure:
        resample, expert, other = np.concatenate(unsure, 1)
        share_CG, other_CG = (
            domain_share(tokens_EGR[of, :, resample].astype(np.float64)) for of in (expert, other)
        )
        near_C = _divergence(share_CG, other_CG) < min_divergence
        open_ER[expert[near_C], resample[near_C]] = False
    return open_ER


def expert_domain(
    tokens_LEG: np.ndarray, *, min_lift: float = MIN_LIFT, min_tokens: int = MIN_DOMAIN_TOKENS
) -> np.ndarray:
    """The domain each expert prefers [L, E], NO_DOMAIN for none, TOO_FEW where nobody can say,
    NO_SUCH where there is no expert.

    The domain of highest lift, if that is at least min_lift, at least MIN_MARGIN times the second
    highest, and rests on at least min_tokens choices. TOO_FEW: only the last is missing, or the
    expert has fewer choices than that in all.
    """
    _require_domains(tokens_LEG)
    lift_LEG = np.nan_to_num(domain_lift(tokens_LEG), nan=0.0)
    second_LE, first_LE = np.moveaxis(np.sort(lift_LEG, -1)[..., -2:], -1, 0)
    domain_LE = lift_LEG.argmax(-1)
    tokens_LE = np.take_along_axis(tokens_LEG, domain_LE[..., None], -1)[..., 0]
    prefers_LE = (first_LE >= min_lift) & (first_LE >= MIN_MARGIN * second_LE)
    label_LE = np.where(prefers_LE & (tokens_LE >= min_tokens), domain_LE, NO_DOMAIN)
    too_few_LE = np.where(prefers_LE, tokens_LE, tokens_LEG.sum(-1)) < min_tokens
    label_LE = np.where(too_few_LE, TOO_FEW, label_LE)
    return np.where(np.isnan(tokens_LEG).any(-1), NO_SUCH, label_LE)


def label_names(domains: Sequence[str]) -> list[str]:
    """Names by the labels of experts in expert_domain(): the negative ones count from the end."""
    return [*domains, TOO_LITTLE, NONE]


def experts_per_domain(
    tokens_LEG: np.ndarray,
    domains: Sequence[str],
    *,
    min_lift: float = MIN_LIFT,
    min_tokens: int = MIN_DOMAIN_TOKENS,
) -> pd.DataFrame:
    """domain, experts, share of all experts of the layers given; last TOO_LITTLE and NONE."""
    labels_LE = expert_domain(tokens_LEG, min_lift=min_lift, min_tokens=min_tokens)
    labels = (*range(len(domains)), TOO_FEW, NO_DOMAIN)
    experts = [(labels_LE == label).sum() for label in labels]
    table = pd.DataFrame({"domain": label_names(domains), "experts": experts})
    return table.assign(share=table.experts / (labels_LE != NO_SUCH).sum())


def experts_per_domain_by_layer(
    tokens_LEG: np.ndarray,
    domains: Sequence[str],
    *,
    min_lift: float = MIN_LIFT,
    min_tokens: int = MIN_DOMAIN_TOKENS,
) -> pd.DataFrame:
    """layer_id, domain, experts, share of the layer's experts."""
    tables = [
        experts_per_domain(tokens_EG[None], domains, min_lift=min_lift, min_tokens=min_tokens)
        for tokens_EG in tokens_LEG
    ]
    table = pd.concat(tables, keys=range(len(tables)), names=["layer_id", None])
    return table.reset_index("layer_id").reset_index(drop=True)


def _over(tokens: np.ndarray, total: np.ndarray) -> np.ndarray:
    """0 where nothing was counted."""
    return tokens / np.where(total > 0, total, 1)


def _require_tokens(tokens_LG: np.ndarray) -> None:
    empty = np.flatnonzero(tokens_LG.sum(-1) == 0)
    if empty.size:
        raise ValueError(f"layer {empty[0]} has no routed tokens; capture a trace with tokens")


def _require_domains(tokens_LEG: np.ndarray) -> None:
    tokens_LG = np.nansum(tokens_LEG, -2)
    _require_tokens(tokens_LG)
    if ((tokens_LG > 0).sum(-1) < 2).any():
        raise ValueError(one_domain())


def too_few_choices(layer_id: int, min_tokens: int) -> str:
    """Why experts are not compared."""
    return (
        f"layer {layer_id} has no expert with {min_tokens} choices, too few to tell experts apart; "
        "capture more text"
    )


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where nothing was counted."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    out = np.full(shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def _entropy(share_G: np.ndarray) -> np.ndarray:
    """Nats, over the last axis."""
    return -(share_G * np.log(share_G, where=share_G > 0, out=np.zeros_like(share_G))).sum(-1)


def _divergence(p_G: np.ndarray, q_G: np.ndarray) -> np.ndarray:
    """Jensen-Shannon, bits, over the last axis."""
    between = _entropy((p_G + q_G) / 2) - (_entropy(p_G) + _entropy(q_G)) / 2
    return np.clip(between / np.log(2), 0.0, 1.0)
