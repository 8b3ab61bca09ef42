"""Which experts are busier or idler than a balanced router's, and how surely.

N = groups, L = MoE layers, E = routed experts, G = domains. The group is the sample.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.bootstrap import CONFIDENCE
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.influence import (
    detectable_lift,
    largest_multiple,
    load_errors,
    spread,
    with_missed_group,
)
from analysis.layers import of_layers
from analysis.permutation import false_discovery_rate
from analysis.significance import (
    MAX_Q,
    POWER,
    detection_level,
    require_groups,
)
from analysis.specialization import MIN_LIFT


def expert_load_table(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, experts_L: np.ndarray | None = None
) -> pd.DataFrame:
    """A row a layer and expert, dead ones included; experts_L as in analysis/layers.py.

    layer_id, expert_id, estimate, low, high (log2 of its choices over the layer's mean, and the
    95 % interval), p, q (of balance), n_groups (all), n_tokens (its choices), enough (a load of
    MIN_LIFT times the mean would be found in 80 of 100 such traces, or q < 0.05), note.
    """
    require_groups(tokens_NLE, domain_id_N)
    layers = [_layer_columns(of, domain_id_N) for of in of_layers(tokens_NLE, experts_L)]
    columns = {name: np.concatenate([layer[name] for layer in layers]) for name in layers[0]}
    table = pd.DataFrame(
        {
            "layer_id": np.repeat(np.arange(len(layers)), [len(of["p"]) for of in layers]),
            "expert_id": np.concatenate([np.arange(len(of["p"])) for of in layers]),
        }
    )
    for name in ("estimate", "low", "high", "p"):
        table[name] = pd.array(columns[name], dtype="Float64")
    table["q"] = pd.array(false_discovery_rate(columns["p"]), dtype="Float64")
    table = table.assign(n_groups=len(domain_id_N), n_tokens=columns["n_tokens"])
    return _with_power(table, columns["error"], columns["freedom"], columns["alike"])


def _layer_columns(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> dict[str, np.ndarray]:
    """Of the experts of one layer, each [E]; NaN where there is none."""
    tokens_E = tokens_NE.sum(0)
    num_domains = int(domain_id_N.max()) + 1
    error_E, freedom_E = load_errors(spread(tokens_NE, domain_id_N, num_domains=num_domains))
    few = effective_number(tokens_NE.sum(-1)) < MIN_EFFECTIVE
    if few:
        error_E = np.full(error_E.shape, np.nan)
    alike_E = error_E == 0
    error_E = np.where(alike_E, np.nan, error_E)
    balanced = tokens_E.mean() if tokens_E.any() else np.nan
    log_E = np.log2(tokens_E / balanced, where=tokens_E > 0, out=np.full(tokens_E.shape, np.nan))
    reach_E = stats.t.ppf((1 + CONFIDENCE) / 2, freedom_E) * error_E
    p_E = 2 * stats.t.sf(np.abs(log_E) / error_E, freedom_E)
    if tokens_E.any() and not few:
        rare_E = log_E < 0
        p_E[rare_E] = np.maximum(p_E, _missed_p(tokens_NE, domain_id_N))[rare_E]
    return {
        "estimate": log_E,
        "low": log_E - reach_E,
        "high": log_E + reach_E,
        "p": p_E,
        "n_tokens": tokens_E,
        "error": error_E,
        "freedom": freedom_E,
        "alike": alike_E,
    }


def _missed_p(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """Of experts with less than a balanced load [E]: a domain may have missed the groups that
    choose them most.

    Each domain in turn is given one more, that chooses an expert as many times more often than a
    balanced router as largest_multiple allows; or, where that leaves more doubt, a group chooses it
    so often or never.
    """
    num_experts = tokens_NE.shape[1]
    times_E = largest_multiple(tokens_NE, np.ones(len(tokens_NE), bool))
    lift_E = tokens_NE.sum(0) / tokens_NE.sum() * num_experts
    p_E = np.zeros(num_experts)
    for domain_id in np.unique(domain_id_N):
        own_N = domain_id_N == domain_id
        more_NE = with_missed_group(tokens_NE, own_N, times_E / num_experts)
        more_id_N = np.append(domain_id_N, domain_id)
        error_E, freedom_E = load_errors(
            spread(more_NE, more_id_N, num_domains=int(domain_id_N.max()) + 1)
        )
        away_E = -np.log2(more_NE.sum(0) / more_NE.sum() * num_experts)
        away_E = np.maximum(away_E, 0)
        far_E = np.divide(away_E, error_E, out=np.zeros(num_experts), where=error_E > 0)
        p_E = np.maximum(p_E, 2 * stats.t.sf(far_E, freedom_E))
    groups = int(effective_number(tokens_NE.sum(-1)))
    hits_E = np.minimum(np.ceil(groups * lift_E / times_E), groups)
    return np.minimum(p_E, 2 * stats.binom.cdf(hits_E, groups, 1 / times_E))


def _with_power(
    table: pd.DataFrame, error: np.ndarray, freedom: np.ndarray, alike: np.ndarray
) -> pd.DataFrame:
    """enough, note."""
    level = detection_level(table)
    detectable = detectable_lift(error * np.log(2), freedom, level=level, power=POWER)
    table["enough"] = (detectable <= np.log2(MIN_LIFT)) | (table.q < MAX_Q).fillna(False)
    empty = table.groupby("layer_id").n_tokens.transform("sum") == 0
    table["note"] = np.select(
        [empty, table.n_tokens == 0, alike, ~table.enough],
        [
            "no token was routed in this layer",
            "never chosen",
            "texts all alike: nothing to test",
            NOT_ENOUGH,
        ],
        "",
    )
    return table
