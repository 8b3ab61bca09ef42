"""Which experts are busier or idler than a balanced router's, and how surely.

N = groups, L = MoE layers, E = routed experts, G = domains. The group is the sample.
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.domain_sums import Groups, Sums
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.influence import detectable_lift, largest_multiple, load_errors, spread_of
from analysis.layers import in_threads, of_layers
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
    of = of_layers(tokens_NLE, experts_L)
    layers = in_threads(lambda layer_id: _layer_columns(of[layer_id], domain_id_N), len(of))
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
    groups = Groups.of(tokens_NE, domain_id_N, num_domains=int(domain_id_N.max()) + 1)
    tokens_E = tokens_NE.sum(0, dtype=np.int64)
    share_E = np.full(len(tokens_E), 1 / len(tokens_E))
    lift_E = tokens_E / max(tokens_E.sum(), 1) / share_E
    times_E = largest_multiple(groups.peaks(), lift_E * share_E)
    of_missed_GE = np.tile(times_E * share_E, (len(groups.start_G1) - 1, 1))
    sums, sums_with_missed = groups.sums_with_missed(of_missed_GE)
    error_E, freedom_E = load_errors(spread_of(sums))
    effective = effective_number(groups.size_N)
    few = effective < MIN_EFFECTIVE
    if few:
        error_E = np.full(error_E.shape, np.nan)
    alike_E = error_E == 0
    error_E = np.where(alike_E, np.nan, error_E)
    balanced = tokens_E.mean() if tokens_E.any() else np.nan
    log_E = np.log2(tokens_E / balanced, where=tokens_E > 0, out=np.full(tokens_E.shape, np.nan))
    reach_E = special.stdtrit(freedom_E, (1 + CONFIDENCE) / 2) * error_E
    p_E = 2 * special.stdtr(freedom_E, -np.abs(log_E) / error_E)
    if tokens_E.any() and not few:
        missed_E = _missed_p(sums, sums_with_missed)
        hits_E = np.minimum(np.ceil(int(effective) * lift_E / times_E), int(effective))
        chance_E = 2 * special.bdtr(hits_E, int(effective), 1 / times_E)
        p_E = np.where(log_E < 0, np.maximum(p_E, np.minimum(missed_E, chance_E)), p_E)
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


def _missed_p(sums: Sums, sums_with_missed: Sums) -> np.ndarray:
    """Of experts with less than a balanced load [E]: a domain may have missed the groups that
    choose them most.

    Each domain in turn is given one more, that chooses an expert as many times more often than a
    balanced router as largest_multiple allows; the caller asks where that leaves more doubt than
    that a group chooses it so often or never.
    """
    p_E = np.zeros(sums.tokens_GE.shape[1])
    for domain_id in np.flatnonzero(sums.groups_G).tolist():
        more = sums.with_domain(domain_id, sums_with_missed)
        error_E, freedom_E = load_errors(spread_of(more))
        share_E = more.tokens_GE.sum(0) / more.tokens_GE.sum()
        away_E = np.maximum(-np.log2(share_E * len(share_E)), 0)
        far_E = np.divide(away_E, error_E, out=np.zeros(len(share_E)), where=error_E > 0)
        p_E = np.maximum(p_E, 2 * special.stdtr(freedom_E, -far_E))
    return p_E


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
