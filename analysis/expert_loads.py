"""Which experts are busier or idler than a balanced router's, and how surely.

N = documents, L = MoE layers, E = routed experts, G = domains. The document is the sample.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.bootstrap import CONFIDENCE
from analysis.influence import detectable_lift
from analysis.permutation import false_discovery_rate
from analysis.significance import (
    MAX_Q,
    MIN_INTERVAL_DOCUMENTS,
    NOT_ENOUGH,
    POWER,
    detection_level,
    require_documents,
)
from analysis.specialization import MIN_LIFT


def expert_load_table(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> pd.DataFrame:
    """A row a layer and expert, dead ones included.

    layer_id, expert_id, estimate, low, high (log2 of its choices over the layer's mean, and the
    95 % interval), p, q (of balance), n_documents (all), n_tokens (its choices), enough (a load of
    MIN_LIFT times the mean would be found in 80 of 100 such traces, or q < 0.05), note.
    """
    require_documents(tokens_NLE, domain_id_N)
    tokens_LE = tokens_NLE.sum(0)
    chosen_LE = (tokens_NLE > 0).sum(0)
    freedom = len(domain_id_N) - len(np.unique(domain_id_N))
    known_LE = (chosen_LE >= MIN_INTERVAL_DOCUMENTS) & (freedom > 0)
    error_LE, freedom_LE = _log_errors(tokens_NLE, domain_id_N)
    error_LE = np.where(known_LE, error_LE, np.nan)
    balanced_L1 = np.where(tokens_LE.any(-1), tokens_LE.mean(-1), np.nan)[:, None]
    log_LE = np.log(
        tokens_LE / balanced_L1, where=tokens_LE > 0, out=np.full(tokens_LE.shape, np.nan)
    )
    reach_LE = stats.t.ppf((1 + CONFIDENCE) / 2, freedom_LE) * error_LE
    with np.errstate(divide="ignore", invalid="ignore"):
        away_LE = np.where(log_LE == 0, 0 * error_LE, np.abs(log_LE) / error_LE)
    p_LE = 2 * stats.t.sf(away_LE, freedom_LE)
    columns = {"estimate": log_LE, "low": log_LE - reach_LE, "high": log_LE + reach_LE}
    columns = {name: of / np.log(2) for name, of in columns.items()}
    columns |= {"p": p_LE, "q": false_discovery_rate(p_LE)}
    layer_id, expert_id = np.indices(tokens_LE.shape).reshape(2, -1)
    table = pd.DataFrame({"layer_id": layer_id, "expert_id": expert_id})
    for name, of_LE in columns.items():
        table[name] = pd.array(of_LE.ravel(), dtype="Float64")
    table = table.assign(n_documents=len(domain_id_N), n_tokens=tokens_LE.ravel())
    return _with_power(table, error_LE.ravel(), freedom_LE.ravel())


def _log_errors(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard error of the logarithm of a load over the mean, by the influence of every document
    within its domain, and Satterthwaite's freedom [L, E]."""
    load_NL1 = tokens_NLE.sum(-1, keepdims=True)
    influence_NLE = tokens_NLE / np.maximum(tokens_NLE.sum(0), 1)
    influence_NLE -= load_NL1 / np.maximum(load_NL1.sum(0), 1)
    squares, fourths = np.zeros(tokens_NLE.shape[1:]), np.zeros(tokens_NLE.shape[1:])
    for domain_id in np.unique(domain_id_N):
        own_NLE = influence_NLE[domain_id_N == domain_id]
        squares_NLE = (own_NLE - own_NLE.mean(0)) ** 2 * len(own_NLE) / max(len(own_NLE) - 1, 1)
        squares += squares_NLE.sum(0)
        fourths += (squares_NLE**2).sum(0)
    spread = fourths / np.maximum(squares**2, 1e-300) - 1 / len(domain_id_N)
    most = max(len(domain_id_N) - len(np.unique(domain_id_N)), 1)
    return np.sqrt(squares), np.minimum(most, 2 / np.maximum(spread, 2 / most))


def _with_power(table: pd.DataFrame, error: np.ndarray, freedom: np.ndarray) -> pd.DataFrame:
    """enough, note."""
    level = detection_level(table)
    detectable = detectable_lift(error, freedom, level=level, power=POWER)
    table["enough"] = (detectable <= np.log2(MIN_LIFT)) | (table.q < MAX_Q).fillna(False)
    empty = table.groupby("layer_id").n_tokens.transform("sum") == 0
    table["note"] = np.select(
        [empty, table.n_tokens == 0, ~table.enough],
        ["no token was routed in this layer", "never chosen", NOT_ENOUGH],
        "",
    )
    return table
