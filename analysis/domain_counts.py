"""How surely so many experts prefer a domain: other texts, and labels shuffled over them.

N = groups, L = MoE layers, E = routed experts, G = domains, then "too little data" and "none",
R = resamples, P = permutations.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import specialization
from analysis.bootstrap import CONFIDENCE, basic_interval, jackknife_quantile, resampled_loads
from analysis.groups import NOT_ENOUGH, too_few
from analysis.layers import in_threads, of_layers
from analysis.metric_intervals import NULL_PERMUTATIONS
from analysis.permutation import adjusted, members, permuted_labels, permuted_loads
from analysis.resampled_figures import preference_counts
from analysis.significance import require_groups, specialists
from analysis.specialization import (
    domain_lift,
    domain_share,
    expert_domain,
    label_names,
)
from data.labels import ANY

ALL_LAYERS = -1
TOO_LITTLE_AT, NONE_AT = -3, -2  # places in a count, before ANY
NUMBERS = ("low", "high", "null", "p", "q")
SAMPLE = ["n_groups"]


def domain_counts(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    experts_L: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a label of label_names() and one of ANY, over all layers, layer_id ALL_LAYERS, then by
    layer; experts_L as in analysis/layers.py.

    layer_id, domain, low, high (95 % interval of the number of experts of experts_per_domain),
    null (its mean over labels permuted over groups), p (how often these show as many; of NONE:
    as few; of TOO_LITTLE there is none), q (over the domains of all layers, or over layers and
    domains; ANY is tested by itself), n_tokens (choices of the domain), note. A layer with tokens
    of one domain only is left out.
    """
    require_groups(tokens_NLE, domain_id_N)
    few = too_few(tokens_NLE.sum((1, 2)), domain_id_N)
    labels_PN = permuted_labels(domain_id_N, permutations=NULL_PERMUTATIONS, seed=seed)
    member_NC = members(labels_PN, num_domains=len(domains))
    loads = resampled_loads(tokens_NLE, domain_id_N, num_domains=len(domains), seed=seed)
    of = of_layers(tokens_NLE, experts_L)

    def of_layer(layer_id: int) -> tuple[np.ndarray, ...] | None:
        tokens_EGP = permuted_loads(of[layer_id], member_NC, num_domains=len(domains))
        of_domain_G = tokens_EGP[..., 0].sum(0)
        if (of_domain_G > 0).sum() < 2:
            return None
        resampled_EGR = loads(layer_id)[: len(tokens_EGP)]
        choices_G = np.array([*of_domain_G, 0, 0, of_domain_G.sum()])
        return _counts(resampled_EGR), _counts(tokens_EGP), choices_G

    counted = in_threads(of_layer, len(of))
    layers = [layer_id for layer_id, of_one in enumerate(counted) if of_one]
    resampled, permuted, choices = zip(*filter(None, counted), strict=True) if layers else ((),) * 3
    if not layers:
        return pd.DataFrame(columns=["layer_id", "domain", *NUMBERS, "n_tokens", "note"])
    tables = [
        _rows(resampled_RG, permuted_PG, domain_id_N, few=few)
        for resampled_RG, permuted_PG in zip(
            [np.sum(resampled, 0), *resampled], [np.sum(permuted, 0), *permuted], strict=True
        )
    ]
    table = pd.concat(tables, ignore_index=True)
    labels = [*label_names(domains), ANY]
    table["layer_id"] = np.repeat([ALL_LAYERS, *layers], len(labels))
    table["domain"] = labels * (len(layers) + 1)
    families = [table.layer_id == ALL_LAYERS, table.domain == ANY]
    table["q"] = table.groupby(families).p.transform(adjusted)
    table["n_tokens"] = np.concatenate([np.sum(choices, 0), *choices]).astype(int)
    table = table.astype(dict.fromkeys(NUMBERS, "Float64"))
    return table[["layer_id", "domain", *NUMBERS, "n_tokens", "note"]]


def _counts(tokens_EGR: np.ndarray) -> np.ndarray:
    """Experts of each label of label_names(), then of any domain [R, G + 3]."""
    counts_RG = preference_counts(tokens_EGR)
    return np.append(counts_RG, counts_RG[:, :-2].sum(-1, keepdims=True), -1)


def _rows(
    resampled_RG: np.ndarray, permuted_PG: np.ndarray, domain_id_N: np.ndarray, *, few: str
) -> pd.DataFrame:
    """low, high, null, p, note of each domain; `few` says why there is no interval."""
    observed_G, shown_PG = permuted_PG[0].astype(float), permuted_PG[1:]
    sign_G = np.ones(len(observed_G))
    sign_G[NONE_AT] = -1  # of "none", few are a finding
    p_G = (1 + (sign_G * (shown_PG - observed_G) >= 0).sum(0)) / (1 + len(shown_PG))
    p_G[TOO_LITTLE_AT] = np.nan  # a matter of how much text there is
    null_G = shown_PG.mean(0)
    if few:
        unknown = {"low": np.nan, "high": np.nan, "p": np.nan}
        return pd.DataFrame({"null": null_G, **unknown, "note": few})
    zeros_N = np.zeros(len(domain_id_N))  # a count moves in steps: no jackknife
    quantile = jackknife_quantile(zeros_N, domain_id_N, error=0.0)
    low_G, high_G = basic_interval(resampled_RG.T.astype(float), observed_G, quantile)
    low_G, high_G = (  # the percentiles too: noise carries experts over a threshold both ways
        np.minimum(low_G, 2 * observed_G - high_G),
        np.maximum(high_G, 2 * observed_G - low_G),
    )
    unsure_G = p_G > 1 - CONFIDENCE
    low_G = np.where(unsure_G & (sign_G > 0), 0.0, low_G)
    most = observed_G[:-1].sum()
    high_G = np.where(unsure_G & (sign_G < 0), most, high_G)
    ends = {"low": np.floor(low_G).clip(0, most), "high": np.ceil(high_G).clip(0, most)}
    return pd.DataFrame({**ends, "null": null_G, "p": p_G, "note": ""})


def mean_over_layers(table: pd.DataFrame, metric: str) -> pd.Series:
    """estimate, low, high, null; NA where no layer has one.

    The interval is the mean of the layers' intervals: that of layers that err together, so it is
    rather too wide than too narrow.
    """
    rows = table[table.metric == metric]
    return rows[["estimate", "low", "high", "null"]].mean()


def compared_layers(tokens_LEG: np.ndarray) -> np.ndarray:
    """The layers with tokens of two or more domains [L]."""
    return (np.nansum(tokens_LEG, 1) > 0).sum(-1) > 1


def preferences(tokens_LEG: np.ndarray, domains: Sequence[str]) -> pd.DataFrame:
    """A row an expert that prefers a domain: layer_id, expert_id, domain, its lift there, and the
    share of its choices that the domain has; only of compared layers."""
    layers = np.flatnonzero(compared_layers(tokens_LEG))
    compared_LEG = tokens_LEG[layers]
    label_LE = expert_domain(compared_LEG)
    place, expert_id = np.nonzero(label_LE >= 0)
    cells = place, expert_id, label_LE[place, expert_id]
    return pd.DataFrame(
        {
            "layer_id": layers[place],
            "expert_id": expert_id,
            "domain": np.array(domains, dtype=object)[cells[-1]],
            "lift": domain_lift(compared_LEG)[cells],
            "share": domain_share(compared_LEG)[cells],
        }
    )


def experts_per_domain(
    tokens_LEG: np.ndarray, lifts: pd.DataFrame, domains: Sequence[str]
) -> pd.DataFrame:
    """As of analysis, of the compared layers, and a last row ANY.

    median_lift and median_share (of the choices of the experts counted in the row, their domain's),
    above_half (those with more than half), significant (those whose preference is sure), not_enough
    (those for which the texts do not suffice to say), n_groups.
    """
    table = specialization.experts_per_domain(tokens_LEG[compared_layers(tokens_LEG)], domains)
    own = table[: len(domains)]
    total = {"domain": ANY, "experts": own.experts.sum(), "share": own.share.sum()}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    rows = _with_tests(preferences(tokens_LEG, domains), lifts)
    counts = _summary(rows, lifts, ["domain"])
    counts.loc[ANY] = _summary(rows.assign(domain=ANY), lifts.assign(domain=ANY), ["domain"]).loc[
        ANY
    ]
    counts.loc[ANY, SAMPLE] = counts.loc[[*domains], SAMPLE].sum()
    return table.join(counts, on="domain")


def experts_per_domain_by_layer(
    tokens_LEG: np.ndarray, lifts: pd.DataFrame, domains: Sequence[str]
) -> pd.DataFrame:
    """The same of every layer, without ANY."""
    layers = np.flatnonzero(compared_layers(tokens_LEG))
    table = specialization.experts_per_domain_by_layer(tokens_LEG[layers], domains)
    table["layer_id"] = layers[table.layer_id]
    keys = ["layer_id", "domain"]
    rows = _with_tests(preferences(tokens_LEG, domains), lifts)
    return table.join(_summary(rows, lifts, keys), on=keys)


def _with_tests(rows: pd.DataFrame, lifts: pd.DataFrame) -> pd.DataFrame:
    """preferences() with significant and not_enough, of the same cell of a lift_table."""
    cell = ["layer_id", "expert_id", "domain"]
    sure = specialists(lifts)
    cells = pd.MultiIndex.from_frame(rows[cell])
    sure_cells = pd.MultiIndex.from_frame(sure[cell])
    unclear_cells = pd.MultiIndex.from_frame(lifts[lifts.note == NOT_ENOUGH][cell])
    return rows.assign(
        significant=cells.isin(sure_cells),
        not_enough=cells.isin(unclear_cells),
        above_half=rows.share > 1 / 2,
    )


def _summary(rows: pd.DataFrame, lifts: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Of every domain that has a lift; 0 and no median where no expert prefers it."""
    sample = lifts.groupby(keys)[SAMPLE].first()
    groups = rows.groupby(keys)
    medians = groups[["lift", "share"]].median().add_prefix("median_")
    counts = groups[["above_half", "significant", "not_enough"]].sum()
    medians = medians.reindex(sample.index).astype("Float64")
    return medians.join(counts.reindex(sample.index).fillna(0).join(sample).astype("Int64"))
