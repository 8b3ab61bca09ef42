"""The tables of statistics.py as they are before anything is resampled: the same rows and
estimates, without intervals, nulls of shuffled labels and tests, and a note that says so.

L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis import load
from analysis.domain_counts import ALL_LAYERS, compared_layers
from analysis.influence import log_lift
from analysis.metric_intervals import DOMAIN_METRICS, LOAD_METRICS
from analysis.specialization import label_names
from data.labels import ANY

COMING = "no interval or test yet"


def sample(texts: pd.DataFrame, domains: tuple[str, ...]) -> pd.DataFrame:
    """As by_domain(), of rows of queries.documents()."""
    of = texts.groupby("domain")
    table = pd.DataFrame(
        {
            "n_documents": of.size(),
            "n_groups": of.unit.nunique(),
            "effective_number": np.nan,
            "design_effect": pd.NA,
            "n_tokens": of.tokens.sum(),
        }
    )
    present = [domain for domain in domains if domain in table.index]
    table = table.loc[present].rename_axis("domain").reset_index()
    return table.astype({"effective_number": "Float64", "design_effect": "Float64"})


def lifts(tokens_LEG: np.ndarray, domains: tuple[str, ...], groups_G: np.ndarray) -> pd.DataFrame:
    """tokens_LEG: NaN where a layer has no such expert."""
    is_expert_LE = ~np.isnan(tokens_LEG[..., 0])
    layer_id, expert_id = np.nonzero(is_expert_LE)
    tokens_CG = tokens_LEG[is_expert_LE]
    compared_G = (groups_G > 0) & (groups_G < groups_G.sum())
    log_LEG = np.stack([log_lift(np.nan_to_num(tokens_EG)) for tokens_EG in tokens_LEG])
    estimate_CG = np.where(compared_G, log_LEG[is_expert_LE], np.nan)
    num_domains = len(domains)
    groups = np.tile(groups_G, len(layer_id))
    estimate = estimate_CG.ravel()
    table = pd.DataFrame(
        {
            "layer_id": np.repeat(layer_id, num_domains),
            "expert_id": np.repeat(expert_id, num_domains),
            "domain": np.tile(np.array(domains, dtype=object), len(layer_id)),
            "estimate": pd.array(estimate, dtype="Float64"),
            **_untested(len(estimate)),
            "n_groups": groups,
            "n_tokens": tokens_CG.ravel().astype(int),
            "smallest_detectable": _unknown(len(estimate)),
            "enough": False,
        }
    )
    one = groups == groups_G.sum()
    reasons = ["one domain: nothing to compare", "no text of this domain", "never chosen"]
    return table.assign(note=np.select([one, groups == 0, np.isnan(estimate)], reasons, COMING))


def loads(tokens_LE: np.ndarray, *, num_groups: int) -> pd.DataFrame:
    layer_id, expert_id = np.nonzero(~np.isnan(tokens_LE))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_LE = np.log2(tokens_LE / np.nanmean(tokens_LE, -1, keepdims=True))
    tokens = tokens_LE[layer_id, expert_id].astype(int)
    estimate = np.where(tokens > 0, log_LE[layer_id, expert_id], np.nan)
    empty = (np.nansum(tokens_LE, -1) == 0)[layer_id]
    reasons = ["no token was routed in this layer", "never chosen"]
    return pd.DataFrame(
        {
            "layer_id": layer_id,
            "expert_id": expert_id,
            "estimate": pd.array(estimate, dtype="Float64"),
            **_untested(len(tokens)),
            "n_groups": num_groups,
            "n_tokens": tokens,
            "enough": False,
            "note": np.select([empty, tokens == 0], reasons, COMING),
        }
    )


def metrics(tokens_LEG: np.ndarray) -> pd.DataFrame:
    """Of the domains that have tokens; balanced loads are known, shuffled labels are not."""
    is_expert_LE = ~np.isnan(tokens_LEG[..., 0])
    rows = [
        {"layer_id": layer_id} | row
        for layer_id, is_expert_E in enumerate(is_expert_LE)
        for row in _layer_rows(tokens_LEG[layer_id, is_expert_E])
    ]
    numbers = ["estimate", "corrected", "low", "high", "null", "p", "q"]
    table = pd.DataFrame(rows).reindex(columns=["layer_id", "metric", *numbers, "note"])
    return table.astype(dict.fromkeys(numbers, "Float64"))


def _layer_rows(tokens_EG: np.ndarray) -> Iterator[dict[str, object]]:
    one_domain = (tokens_EG.sum(0) > 0).sum() == 1
    for metric in (*LOAD_METRICS, *DOMAIN_METRICS):
        row: dict[str, object] = {"metric": metric.__name__, "note": COMING}
        if metric is load.dead_experts:
            row["note"] = "no interval: texts drawn again choose no new expert"
        if metric in DOMAIN_METRICS and one_domain:
            yield row | {"note": "one domain: nothing to compare"}
            continue
        try:
            if metric in DOMAIN_METRICS:
                yield row | {"estimate": metric(tokens_EG[None])[0]}
            else:
                balanced_1E = np.ones((1, len(tokens_EG)))
                estimate, null = metric(tokens_EG.sum(-1)[None])[0], metric(balanced_1E)[0]
                yield row | {"estimate": estimate, "null": null}
        except ValueError as refused:
            yield row | {"note": str(refused)}


def counts(tokens_LEG: np.ndarray, domains: tuple[str, ...]) -> pd.DataFrame:
    """What goes with experts_per_domain()."""
    layers = np.flatnonzero(compared_layers(tokens_LEG))
    labels = [*label_names(domains), ANY]
    of_domain_LG = np.nansum(tokens_LEG[layers], 1)
    choices_LG = np.column_stack(
        [of_domain_LG, np.zeros((len(layers), 2)), of_domain_LG.sum(1, keepdims=True)]
    )
    rows = len(labels) * (len(layers) + 1)
    return pd.DataFrame(
        {
            "layer_id": np.repeat([ALL_LAYERS, *layers], len(labels)),
            "domain": labels * (len(layers) + 1),
            **{name: _unknown(rows) for name in ("low", "high", "null", "p", "q")},
            "n_tokens": np.vstack([choices_LG.sum(0), choices_LG]).ravel().astype(int),
            "note": COMING,
        }
    )


def _untested(rows: int) -> dict[str, pd.api.extensions.ExtensionArray]:
    return {name: _unknown(rows) for name in ("low", "high", "p", "q")}


def _unknown(rows: int) -> pd.api.extensions.ExtensionArray:
    return pd.array(np.full(rows, np.nan), dtype="Float64")
