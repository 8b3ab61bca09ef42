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
from analysis.permutation import false_discovery_rate
from analysis.significance import (
    MAX_Q,
    POWER,
    detection_level,
    require_groups,
)
from analysis.specialization import MIN_LIFT


def expert_load_table(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> pd.DataFrame:
    """A row a layer and expert, dead ones included.

    layer_id, expert_id, estimate, low, high (log2 of its choices over the layer's mean, and the
    95 % interval), p, q (of balance), n_groups (all), n_tokens (its choices), enough (a load of
    MIN_LIFT times the mean would be found in 80 of 100 such traces, or q < 0.05), note.
    """
    require_groups(tokens_NLE, domain_id_N)
    tokens_LE = tokens_NLE.sum(0)
    num_domains = int(domain_id_N.max()) + 1
    spreads = [
        spread(tokens_NE, domain_id_N, num_domains=num_domains)
        for tokens_NE in tokens_NLE.swapaxes(0, 1)
    ]
    error_LE, freedom_LE = (np.stack(of) for of in zip(*map(load_errors, spreads), strict=True))
    few_L = [
        effective_number(tokens_NE.sum(-1)) < MIN_EFFECTIVE
        for tokens_NE in tokens_NLE.swapaxes(0, 1)
    ]
    error_LE[few_L] = np.nan
    alike_LE = error_LE == 0
    error_LE[alike_LE] = np.nan
    balanced_L1 = np.where(tokens_LE.any(-1), tokens_LE.mean(-1), np.nan)[:, None]
    log_LE = np.log2(
        tokens_LE / balanced_L1, where=tokens_LE > 0, out=np.full(tokens_LE.shape, np.nan)
    )
    reach_LE = stats.t.ppf((1 + CONFIDENCE) / 2, freedom_LE) * error_LE
    p_LE = 2 * stats.t.sf(np.abs(log_LE) / error_LE, freedom_LE)
    for layer in np.flatnonzero(tokens_LE.any(-1) & ~np.array(few_L)):
        missed_E = _missed_p(tokens_NLE[:, layer], domain_id_N)
        rare_E = log_LE[layer] < 0
        p_LE[layer, rare_E] = np.maximum(p_LE[layer], missed_E)[rare_E]
    columns = {"estimate": log_LE, "low": log_LE - reach_LE, "high": log_LE + reach_LE}
    columns |= {"p": p_LE, "q": false_discovery_rate(p_LE)}
    layer_id, expert_id = np.indices(tokens_LE.shape).reshape(2, -1)
    table = pd.DataFrame({"layer_id": layer_id, "expert_id": expert_id})
    for name, of_LE in columns.items():
        table[name] = pd.array(of_LE.ravel(), dtype="Float64")
    table = table.assign(n_groups=len(domain_id_N), n_tokens=tokens_LE.ravel())
    return _with_power(table, error_LE.ravel(), freedom_LE.ravel(), alike_LE.ravel())


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
