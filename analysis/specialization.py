"""Which domains an expert prefers, and how much the expert tells about the domain.

L = MoE layers, E = routed experts, G = domains. A share is of choices: a token counts once for
every expert that it chose. The corpus of a layer is the sum of its experts, so uneven domains
cancel out of a lift. A dead expert has no profile: its row is NaN. A place that is no expert, of a
layer with fewer than E, is NaN in tokens_LEG already and counts for nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.distinct import distinct_experts, divergence, entropy
from analysis.refusals import one_domain, too_few_choices
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
    return divergence(domain_share(tokens_LEG), corpus_share(tokens_LEG)[..., None, :])


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
    return mutual_information(tokens_LEG) / entropy(corpus_share(tokens_LEG))


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


def _require_tokens(tokens_LG: np.ndarray) -> None:
    empty = np.flatnonzero(tokens_LG.sum(-1) == 0)
    if empty.size:
        raise ValueError(f"layer {empty[0]} has no routed tokens; capture a trace with tokens")


def _require_domains(tokens_LEG: np.ndarray) -> None:
    tokens_LG = np.nansum(tokens_LEG, -2)
    _require_tokens(tokens_LG)
    if ((tokens_LG > 0).sum(-1) < 2).any():
        raise ValueError(one_domain())


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where nothing was counted."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    out = np.full(shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
