"""One trace of known truth through our statistics: what they say, and whether it is true."""

import numpy as np
import pandas as pd
from scipy import stats

from analysis import specialization
from analysis.expert_loads import expert_load_table
from analysis.metric_intervals import LOAD_METRICS, mean_divergence, metric_table
from analysis.significance import MAX_Q, lift_table, specialists
from benchmarks.causal_null import causal_null_trace
from benchmarks.known_truth import Truth, drawn_again

CHECKED = LOAD_METRICS[:1] + LOAD_METRICS[2:-1]  # MaxVio is load_imbalance - 1
CHECKED_DOMAINS = (specialization.mutual_information, mean_divergence)
OF_DOMAINS = ("mutual_information", "mean_divergence", "distinct_share")


def null_trace(truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = lift_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed)
    by_document = truth.sample(np.random.default_rng(seed), groups_stated=False)
    naive_p = chi_square_p(by_document[0][:, 0], by_document[1])
    ungrouped = table
    if truth.group > 1:
        ungrouped = lift_table(*by_document, domains=truth.domains, seed=seed)
    loads = expert_load_table(tokens_NLE, domain_id_N)
    choices_E = truth.expected_choices().sum(0)
    with np.errstate(divide="ignore"):
        true_load_E = np.log2(choices_E / choices_E.mean())
    return {
        "any": _any(table),
        "p": float((table.p.dropna().to_numpy(float) < 0.05).mean()),
        "covered": _covered(table, truth.true_log_lift().ravel()),
        "load covered": _covered(loads, true_load_E),
        "load any": _any(loads[np.isclose(true_load_E, 0)]),
        "refused": float(table.low.isna().mean()),
        "ungrouped any": _any(ungrouped),
        "naive any": float((stats.false_discovery_control(naive_p) < MAX_Q).any()),
    }


def recentred_trace(
    share_NLE: np.ndarray, choices_N: np.ndarray, domain_id_N: np.ndarray, seed: int
) -> dict[str, float]:
    """Groups of a real trace whose every lift is 1, drawn again."""
    tokens_NLE = drawn_again(share_NLE, choices_N, domain_id_N, np.random.default_rng(seed))
    names = [str(domain_id) for domain_id in range(domain_id_N.max() + 1)]
    table = lift_table(tokens_NLE, domain_id_N, domains=names, seed=seed)
    return {
        "any": _any(table),
        "p": float((table.p.dropna().to_numpy(float) < 0.05).mean()),
        "covered": _covered(table, np.zeros(len(table))),
        "refused": float(table.low.isna().mean()),
        "specialists": float(len(specialists(table))),
    }


def _any(table: pd.DataFrame) -> float:
    return float((table.q < MAX_Q).fillna(False).any())


def _covered(table: pd.DataFrame, true: np.ndarray) -> float:
    """Of the intervals that are given; NaN if none is."""
    low, high = (table[name].to_numpy(float, na_value=np.nan) for name in ("low", "high"))
    given = ~np.isnan(low)
    return float(((low <= true) & (true <= high))[given].mean()) if given.any() else np.nan


def chi_square_p(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """The test that takes tokens for the sample: each living expert and domain, 2 x 2."""
    tokens_GE = np.stack([tokens_NE[domain_id_N == g].sum(0) for g in np.unique(domain_id_N)])
    tokens_GE = tokens_GE[:, tokens_GE.sum(0) > 0]
    total = tokens_GE.sum()
    expert_E, domain_G1 = tokens_GE.sum(0), tokens_GE.sum(1, keepdims=True)
    expected_GE = domain_G1 * expert_E / total
    variance_GE = expected_GE * (1 - expert_E / total) * (1 - domain_G1 / total)
    return stats.chi2.sf(((tokens_GE - expected_GE) ** 2 / variance_GE).ravel(), 1)


def planted_trace(lift: float, truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = lift_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed)
    true = truth.true_log_lift().ravel()
    num_domains = len(truth.domains)
    own_EG = np.zeros((tokens_NLE.shape[-1], num_domains), bool)
    for g in range(num_domains):
        own_EG[[2 * g, 2 * g + 1], g] = True
    own = own_EG.ravel()
    found = (table.q < MAX_Q).fillna(False).to_numpy(bool)
    wrong_sign = np.sign(table.estimate.to_numpy(float)) != np.sign(true)
    false = found & (wrong_sign | (np.abs(true) < 1e-9))
    detectable = table.smallest_detectable.to_numpy(float, na_value=np.nan)[own]
    return {
        "power": float(found[own].mean()),
        "false": float(false.sum() / max(found.sum(), 1)),
        "covered": _covered(table, true),
        "covered own": _covered(table[own], true[own]),
        "refused": float(table.low.isna().mean()),
        "detectable": float(np.nanmedian(detectable)),
    }


def perfect_trace(truth: Truth, seed: int) -> dict[str, float]:
    """An expert a domain that takes all of it and nothing else: found, and nothing more?"""
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = specialists(lift_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed))
    right = [
        domain == truth.domains[e] for e, domain in zip(table.expert_id, table.domain, strict=True)
    ]
    return {"power": sum(right) / len(truth.domains), "false": float(len(table) - sum(right))}


def causal_trace(lift: float, seed: int) -> dict[str, float]:
    return {"confirmed": causal_null_trace(lift, seed)}


def metric_trace(truth: Truth, seed: int) -> dict[str, float]:
    """1 where the interval holds the truth, 0 where it does not, NaN where it is refused; and
    whether a figure of domains has p < 0.05."""
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = metric_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed)
    table = table.set_index("metric")
    tokens_LEG = truth.expected_choices().T[None]
    true = {metric.__name__: float(metric(tokens_LEG.sum(-1))[0]) for metric in CHECKED}
    true |= {metric.__name__: float(metric(tokens_LEG)[0]) for metric in CHECKED_DOMAINS}
    covered = {name: _covered(table.loc[[name]], np.array([value])) for name, value in true.items()}
    p = table.p.loc[[*OF_DOMAINS]].to_numpy(float, na_value=np.nan)
    below = np.where(np.isnan(p), np.nan, p < 0.05)
    return covered | {f"{name} p": float(of) for name, of in zip(OF_DOMAINS, below, strict=True)}
