"""Whether an expert matters to its domain: the change of loss when no token may choose it.

N = documents, C = control experts, R = resamples, E = routed experts. Changes are nats per token.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.bootstrap import basic_interval, bootstrap_weights, student_quantile
from analysis.ratios import Interval

CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
TOO_LITTLE = "too little data"
CONTROLS = 4
DECISIVE = ("own", "own - others", "own - controls")


def matched_controls(load_E: np.ndarray, expert_id: int) -> list[int]:
    """The CONTROLS living experts of the layer closest to it in load, the closest first."""
    nearest = np.argsort(np.abs(load_E - load_E[expert_id]), kind="stable")
    controls = [int(e) for e in nearest if e != expert_id and load_E[e] > 0][:CONTROLS]
    if not controls:
        raise ValueError(
            f"no other expert of the layer is ever chosen: none to compare expert {expert_id} with"
        )
    return controls


def cause_table(
    change_N: np.ndarray,
    control_change_CN: np.ndarray,
    tokens_N: np.ndarray,
    own_N: np.ndarray,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a group: own, others, controls (on the own domain), own - others, own - controls.

    group, estimate, low, high, n_documents, n_tokens, verdict (the same in every row). Missing
    where there is no document, and the interval where there are too few.
    """
    control_N = control_change_CN.mean(0)
    members = {
        "own": (own_N, change_N),
        "others": (~own_N, change_N),
        "controls": (own_N, control_N),
    }
    weights_RN = bootstrap_weights(own_N.astype(int), seed=seed)
    both = np.concatenate([np.ones((1, len(own_N))), weights_RN])  # the sample, then resamples
    values = {
        name: resampled_ratio(both, nats_N, tokens_N, of_N)
        for name, (of_N, nats_N) in members.items()
    }
    values["own - others"] = values["own"] - values["others"]
    values["own - controls"] = values["own"] - values["controls"]
    member_N = {name: of_N for name, (of_N, _) in members.items()}
    member_N |= {"own - others": np.ones_like(own_N), "own - controls": own_N}
    fewest = {name: int(of_N.sum()) for name, of_N in member_N.items()}
    fewest["own - others"] = min(fewest["own"], fewest["others"])
    rows = [
        {"group": name, **ratio_interval(all_R, fewest[name]), **_counts(tokens_N, member_N[name])}
        for name, all_R in values.items()
    ]
    table = _nullable(pd.DataFrame(rows))
    return table.assign(verdict=_verdict(table))


def domain_changes(
    change_N: np.ndarray,
    tokens_N: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    seed: int = 0,
) -> pd.DataFrame:
    """A row a domain with documents: domain, estimate, low, high, n_documents, n_tokens."""
    weights_RN = bootstrap_weights(domain_id_N, seed=seed)
    both = np.concatenate([np.ones((1, len(domain_id_N))), weights_RN])
    rows = []
    for domain_id in np.unique(domain_id_N):
        of_N = domain_id_N == domain_id
        changes_R = resampled_ratio(both, change_N, tokens_N, of_N)
        interval = ratio_interval(changes_R, int(of_N.sum()))
        rows.append({"domain": domains[domain_id], **interval, **_counts(tokens_N, of_N)})
    return _nullable(pd.DataFrame(rows))


def _verdict(table: pd.DataFrame) -> str:
    low = table.set_index("group").low[list(DECISIVE)]
    if low.isna().any():
        return TOO_LITTLE
    return CONFIRMED if (low > 0).all() else NOT_CONFIRMED


def _counts(tokens_N: np.ndarray, of_N: np.ndarray) -> dict[str, int]:
    return {"n_documents": int(of_N.sum()), "n_tokens": int(tokens_N[of_N].sum())}


def _nullable(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(dict.fromkeys(("estimate", "low", "high"), "Float64"))


def resampled_ratio(
    weights_RN: np.ndarray, amount_N: np.ndarray, size_N: np.ndarray, of_N: np.ndarray
) -> np.ndarray:
    size_R = weights_RN[:, of_N] @ size_N[of_N].astype(float)
    amount_R = weights_RN[:, of_N] @ amount_N[of_N]
    return np.divide(amount_R, size_R, out=np.full_like(amount_R, np.nan), where=size_R > 0)


def ratio_interval(values_R: np.ndarray, number: int) -> Interval:
    estimate, resampled_R = values_R[0], values_R[1:]
    if number < 5:
        return Interval(estimate=float(estimate), low=np.nan, high=np.nan)
    quantile = float(student_quantile(np.array(number)))
    low, high = basic_interval(resampled_R, estimate, quantile)
    return Interval(estimate=float(estimate), low=float(low), high=float(high))
