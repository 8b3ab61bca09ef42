"""How surely so many experts belong to a domain: other documents, and labels shuffled over them.

N = documents, L = MoE layers, E = routed experts, G = domains and then "none", R = resamples, P =
permutations.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import specialization
from analysis.bootstrap import CONFIDENCE, basic_interval, bootstrap_loads, jackknife_quantile
from analysis.metric_intervals import NULL_PERMUTATIONS
from analysis.permutation import false_discovery_rate, permuted_labels
from analysis.groups import NOT_ENOUGH, too_few
from analysis.significance import require_groups, specialists
from analysis.specialization import NO_DOMAIN, NONE, expert_domain

ALL_LAYERS = -1
NUMBERS = ("low", "high", "null", "p", "q")


def domain_counts(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """A row a domain (the last is "none") over all layers, layer_id ALL_LAYERS, then by layer.

    layer_id, domain, low, high (95 % interval of the number of experts of experts_per_domain),
    null (its mean over labels permuted over documents), p (how often these show as many; of "none":
    as few), q (over the domains of all layers, or over layers and domains), n_tokens (choices of
    the domain), note. A layer with tokens of one domain only is left out.
    """
    require_groups(tokens_NLE, domain_id_N)
    labels_PN = permuted_labels(domain_id_N, permutations=NULL_PERMUTATIONS, seed=seed)
    member_PGN = (labels_PN[:, None] == np.arange(len(domains))[:, None]).astype(np.float32)
    loads = bootstrap_loads(tokens_NLE, domain_id_N, num_domains=len(domains), seed=seed)
    layers, resampled, permuted, choices = [], [], [], []
    for layer_id, tokens_EGR in enumerate(loads):
        tokens_PEG = (member_PGN @ tokens_NLE[:, layer_id].astype(np.float32)).swapaxes(1, 2)
        if (tokens_PEG[0].sum(0) > 0).sum() < 2:
            continue
        layers.append(layer_id)
        resampled.append(_counts(np.moveaxis(tokens_EGR, -1, 0)))
        permuted.append(_counts(tokens_PEG))
        choices.append(np.append(tokens_PEG[0].sum(0), 0))
    if not layers:
        return pd.DataFrame(columns=["layer_id", "domain", *NUMBERS, "n_tokens", "note"])
    tables = [
        _rows(resampled_RG, permuted_PG, domain_id_N)
        for resampled_RG, permuted_PG in zip(
            [np.sum(resampled, 0), *resampled], [np.sum(permuted, 0), *permuted], strict=True
        )
    ]
    table = pd.concat(tables, ignore_index=True)
    table["layer_id"] = np.repeat([ALL_LAYERS, *layers], len(domains) + 1)
    table["domain"] = [*domains, NONE] * (len(layers) + 1)
    table["q"] = table.groupby(table.layer_id == ALL_LAYERS).p.transform(_q)
    table["n_tokens"] = np.concatenate([np.sum(choices, 0), *choices]).astype(int)
    table = table.astype(dict.fromkeys(NUMBERS, "Float64"))
    return table[["layer_id", "domain", *NUMBERS, "n_tokens", "note"]]


def _counts(tokens_REG: np.ndarray) -> np.ndarray:
    """Experts of each domain, then of none [R, G + 1]; a resample of one domain has none."""
    compared_R = (tokens_REG.sum(1) > 0).sum(-1) > 1
    label_RE = np.full(tokens_REG.shape[:2], NO_DOMAIN)
    label_RE[compared_R] = expert_domain(tokens_REG[compared_R])
    num_domains = tokens_REG.shape[-1]
    places = [*range(num_domains), NO_DOMAIN]
    return np.stack([(label_RE == domain_id).sum(-1) for domain_id in places], -1)


def _rows(
    resampled_RG: np.ndarray, permuted_PG: np.ndarray, domain_id_N: np.ndarray
) -> pd.DataFrame:
    """low, high, null, p, note of each domain."""
    observed_G, shown_PG = permuted_PG[0].astype(float), permuted_PG[1:]
    sign_G = np.ones(len(observed_G))
    sign_G[-1] = -1  # of "none", few are a finding
    p_G = (1 + (sign_G * (shown_PG - observed_G) >= 0).sum(0)) / (1 + len(shown_PG))
    null_G = shown_PG.mean(0)
    if len(domain_id_N) - len(np.unique(domain_id_N)) < MIN_FREEDOM:
        note = f"{NOT_ENOUGH} how sure this is"
        return pd.DataFrame({"low": np.nan, "high": np.nan, "null": null_G, "p": np.nan}).assign(
            note=note
        )
    zeros_N = np.zeros(len(domain_id_N))  # a count moves in steps: no jackknife
    quantile = jackknife_quantile(zeros_N, domain_id_N, error=0.0)
    low_G, high_G = basic_interval(resampled_RG.T.astype(float), observed_G, quantile)
    low_G, high_G = (  # the percentiles too: noise carries experts over a threshold both ways
        np.minimum(low_G, 2 * observed_G - high_G),
        np.maximum(high_G, 2 * observed_G - low_G),
    )
    unsure_G = p_G > 1 - CONFIDENCE
    low_G = np.where(unsure_G & (sign_G > 0), 0.0, low_G)
    most = observed_G.sum()
    high_G = np.where(unsure_G & (sign_G < 0), most, high_G)
    ends = {"low": np.floor(low_G).clip(0, most), "high": np.ceil(high_G).clip(0, most)}
    return pd.DataFrame({**ends, "null": null_G, "p": p_G, "note": ""})


def _q(p: pd.Series) -> pd.Series:
    return pd.Series(false_discovery_rate(p.to_numpy(float)), index=p.index)


def mean_over_layers(table: pd.DataFrame, metric: str) -> pd.Series:
    """estimate, low, high, null; NA where no layer has one.

    The interval is the mean of the layers' intervals: that of layers that err together, so it is
    rather too wide than too narrow.
    """
    rows = table[table.metric == metric]
    return rows[["estimate", "low", "high", "null"]].mean()


def compared_layers(tokens_LEG: np.ndarray) -> np.ndarray:
    """The layers with tokens of two or more domains [L]."""
    return (tokens_LEG.sum(1) > 0).sum(-1) > 1


def experts_per_domain(
    tokens_LEG: np.ndarray, lifts: pd.DataFrame, domains: Sequence[str]
) -> pd.DataFrame:
    """As of analysis, of the compared layers, with n_documents, the experts whose preference is
    sure (significant), and those of which nothing can be said (not_enough)."""
    compared_LEG = tokens_LEG[compared_layers(tokens_LEG)]
    table = specialization.experts_per_domain(compared_LEG, domains)
    return table.join(_specialist_counts(lifts, ["domain"]), on="domain")


def experts_per_domain_by_layer(
    tokens_LEG: np.ndarray, lifts: pd.DataFrame, domains: Sequence[str]
) -> pd.DataFrame:
    layers = np.flatnonzero(compared_layers(tokens_LEG))
    table = specialization.experts_per_domain_by_layer(tokens_LEG[layers], domains)
    table["layer_id"] = layers[table.layer_id]
    keys = ["layer_id", "domain"]
    return table.join(_specialist_counts(lifts, keys), on=keys)


def _specialist_counts(lifts: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    sure = specialists(lifts)
    counts = lifts.groupby(keys).agg(n_documents=("n_documents", "first"))
    counts["significant"] = sure[(sure.low > 0).fillna(False)].groupby(keys).size()
    counts["not_enough"] = lifts[lifts.note == NOT_ENOUGH].groupby(keys).size()
    counts = counts[["significant", "not_enough", "n_documents"]]
    return counts.astype("Int64").fillna(0)
