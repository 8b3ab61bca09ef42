"""Whether an expert matters to its domain: the change of loss when no token may choose it.

N = documents, C = control experts, R = resamples. Changes are of a domain's nats per token.
"""

import numpy as np
import pandas as pd

from analysis.bootstrap import basic_interval, bootstrap_weights, student_quantile
from analysis.significance import MIN_INTERVAL_DOCUMENTS

CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
TOO_LITTLE = "too little data"
STATED_EFFECT = 0.01  # nats per token: an interval that cannot exclude it decides nothing
CONTROLS = 4
POOL = 8  # experts closest in load, of which the controls are drawn


def matched_controls(
    load_E: np.ndarray, expert_id: int, *, excluded: set[int] = frozenset(), seed: int = 0
) -> list[int]:
    """CONTROLS experts drawn from the POOL of the layer closest in load, none of `excluded`."""
    distance_E = np.abs(load_E - load_E[expert_id])
    nearest = np.argsort(distance_E, kind="stable")
    pool = [int(e) for e in nearest if e != expert_id and e not in excluded and load_E[e] > 0]
    if not pool:
        raise ValueError(f"no other expert of the layer can be compared with expert {expert_id}")
    rng = np.random.default_rng([seed, expert_id])
    return sorted(map(int, rng.permutation(pool[:POOL])[:CONTROLS]))


def cause_row(
    change_N: np.ndarray,
    control_change_CN: np.ndarray,
    tokens_N: np.ndarray,
    own_N: np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, object]:
    """own, other, control (own domain), own_minus_other, own_minus_control with _low and _high,
    n_documents and n_tokens of the own domain, verdict. None where there is no interval."""
    own, other = np.asarray(own_N, bool), ~np.asarray(own_N, bool)
    control_N = control_change_CN.mean(0)
    weights_RN = bootstrap_weights(own.astype(int), seed=seed)
    ones = np.ones((1, len(own)))

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        of = {
            "own": _change(weights, change_N, tokens_N, own),
            "other": _change(weights, change_N, tokens_N, other),
            "control": _change(weights, control_N, tokens_N, own),
        }
        of["own_minus_other"] = of["own"] - of["other"]
        of["own_minus_control"] = of["own"] - of["control"]
        return of

    resampled, exact = figures(weights_RN), figures(ones)
    enough = min(own.sum(), other.sum()) >= MIN_INTERVAL_DOCUMENTS
    row: dict[str, object] = {}
    for name, estimate in exact.items():
        known = np.isfinite(estimate[0])
        row[name] = float(estimate[0]) if known else None
        row[f"{name}_low"] = row[f"{name}_high"] = None
        if enough:
            quantile = float(student_quantile(np.array(min(own.sum(), other.sum()))))
            low, high = basic_interval(resampled[name], estimate[0], quantile)
            row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
    row |= {"n_documents": int(own.sum()), "n_tokens": int(tokens_N[own].sum())}
    return row | {"verdict": verdict(row)}


def verdict(row: dict[str, object]) -> str:
    tests = ("own", "own_minus_other", "own_minus_control")
    lows = [row[f"{name}_low"] for name in tests]
    if any(low is None for low in lows):
        return TOO_LITTLE
    if all(low > 0 for low in lows):
        return CONFIRMED
    undecided = [name for name in tests if row[f"{name}_low"] <= 0]
    open_still = all(row[f"{name}_high"] >= STATED_EFFECT for name in undecided)
    wide = all(row[f"{name}_high"] - row[f"{name}_low"] > 2 * STATED_EFFECT for name in undecided)
    return TOO_LITTLE if open_still and wide else NOT_CONFIRMED


def domain_changes(
    change_N: np.ndarray, tokens_N: np.ndarray, domain_id_N: np.ndarray, domains: list[str]
) -> pd.DataFrame:
    """domain, estimate, low, high, n_documents, n_tokens of one intervention."""
    weights_RN = bootstrap_weights(domain_id_N)
    rows = []
    for domain_id, domain in enumerate(domains):
        own = domain_id_N == domain_id
        if not own.any():
            continue
        estimate = _change(np.ones((1, len(own))), change_N, tokens_N, own)[0]
        low = high = None
        if own.sum() >= MIN_INTERVAL_DOCUMENTS:
            resampled_R = _change(weights_RN, change_N, tokens_N, own)
            quantile = float(student_quantile(np.array(own.sum())))
            low, high = map(float, basic_interval(resampled_R, estimate, quantile))
        counts = {"n_documents": int(own.sum()), "n_tokens": int(tokens_N[own].sum())}
        rows.append({"domain": domain, "estimate": estimate, "low": low, "high": high} | counts)
    return pd.DataFrame(rows)


def _change(
    weights_RN: np.ndarray, change_N: np.ndarray, tokens_N: np.ndarray, of_N: np.ndarray
) -> np.ndarray:
    """Nats per token in each resample [R]."""
    tokens_R = weights_RN[:, of_N] @ tokens_N[of_N].astype(float)
    nats_R = weights_RN[:, of_N] @ change_N[of_N]
    return np.divide(nats_R, tokens_R, out=np.full_like(nats_R, np.nan), where=tokens_R > 0)
