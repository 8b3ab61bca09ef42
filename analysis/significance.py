"""Which preferences of experts for domains are more than luck, how large, and how surely.

N = documents, L = MoE layers, E = routed experts, G = domains, R = resamples. The document is the
sample: tokens of one prompt resemble one another. docs/metrics.md argues every choice made here.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.bootstrap import accelerated_interval, bootstrap_loads, student_quantile
from analysis.influence import detectable_lift, lift_moments, log_lift, null_error
from analysis.permutation import false_discovery_rate, preference_p
from analysis.specialization import MIN_LIFT

MAX_Q = 0.05
POWER = 0.8
MIN_INTERVAL_DOCUMENTS = 5  # of the domain, that chose the expert
NOT_ENOUGH = "not enough prompts to say"


def lift_table(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """A row a layer, expert and domain, dead ones included.

    layer_id, expert_id, domain, estimate, low, high (log2 lift and its 95 % interval), p, q,
    n_documents (of the domain), n_tokens (its choices of the expert), smallest_detectable (log2
    lift that q < 0.05 finds in 80 of 100 such traces), enough (that is at most MIN_LIFT, or the
    cell has q < 0.05), note (what cannot be said and why, else empty).
    """
    require_documents(tokens_NLE, domain_id_N)
    num_domains = len(domains)
    p_LEG = preference_p(tokens_NLE, domain_id_N, num_domains=num_domains, seed=seed)
    loads = bootstrap_loads(tokens_NLE, domain_id_N, num_domains=num_domains, seed=seed)
    layers = [
        _lift_columns(tokens_NE, domain_id_N, tokens_EGR)
        for tokens_NE, tokens_EGR in zip(tokens_NLE.swapaxes(0, 1), loads, strict=True)
    ]
    columns = {name: np.stack([layer[name] for layer in layers]) for name in layers[0]}
    return _frame(columns | {"p": p_LEG, "q": false_discovery_rate(p_LEG)}, domains)


def family_size(table: pd.DataFrame) -> int:
    """How many cells of a lift_table were tested at once."""
    return int(table.q.notna().sum())


def detection_level(table: pd.DataFrame) -> float:
    """The p below which cells of a lift_table have q < 0.05; 0.05 / family_size if none has."""
    significant = table.p[(table.q < MAX_Q).fillna(False)]
    return float(significant.max()) if len(significant) else MAX_Q / max(family_size(table), 1)


def specialists(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a lift_table with q < 0.05 and a lift of at least MIN_LIFT, clearest first."""
    claimed = (table.q < MAX_Q) & (table.estimate >= np.log2(MIN_LIFT))
    return table[claimed.fillna(False)].sort_values("low", ascending=False, ignore_index=True)


def limits(tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str]) -> list[str]:
    """What these documents cannot show and why, one line per limit."""
    documents_G = np.bincount(domain_id_N, minlength=len(domains))
    present = np.flatnonzero(documents_G)
    lines = []
    if len(present) < 2:
        lines.append(
            "All documents belong to one domain, so there are no lifts, tests or specialists, "
            "which compare domains. Label documents of two or more domains in a column named "
            "domain."
        )
    for domain_id in present[documents_G[present] < MIN_INTERVAL_DOCUMENTS]:
        lines.append(
            f"{domains[domain_id]} has fewer than {MIN_INTERVAL_DOCUMENTS} documents "
            f"({documents_G[domain_id]}): {NOT_ENOUGH}. There is no interval, and with a single "
            "document no test either."
        )
    choices_LE = tokens_NLE.sum(0)
    empty = np.flatnonzero(choices_LE.sum(-1) == 0)
    if empty.size:
        layers = ", ".join(map(str, empty))
        lines.append(f"No token was routed in layer {layers}, so it has no figures.")
    dead = int((choices_LE == 0).sum() - empty.size * choices_LE.shape[1])
    if dead:
        experts, have = ("expert was", "has") if dead == 1 else ("experts were", "have")
        lines.append(f"{dead} {experts} never chosen and so {have} no lift and no test.")
    return lines


def require_documents(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> None:
    if tokens_NLE.shape[0] != len(domain_id_N):
        raise ValueError(
            f"{tokens_NLE.shape[0]} documents with {len(domain_id_N)} labels; pass one a document"
        )
    if not tokens_NLE.any():
        raise ValueError("no document has routed tokens; capture a trace with tokens")


def _lift_columns(
    tokens_NE: np.ndarray, domain_id_N: np.ndarray, tokens_EGR: np.ndarray
) -> dict[str, np.ndarray]:
    """Of one layer, each [E, G]; NaN where there is none."""
    member_NG = np.eye(tokens_EGR.shape[1])[domain_id_N]
    tokens_EG = tokens_NE.T @ member_NG
    estimate_EG = log_lift(tokens_EG)
    documents_G = member_NG.sum(0)
    squares_EG, cubes_EG = lift_moments(tokens_NE, member_NG)
    skewed_EG = squares_EG > 1e-12
    low_EG, high_EG = accelerated_interval(
        np.moveaxis(log_lift(np.moveaxis(tokens_EGR, -1, 0)), 0, -1),
        estimate_EG,
        np.divide(cubes_EG, 6 * squares_EG**1.5, out=np.zeros_like(cubes_EG), where=skewed_EG),
        student_quantile(np.maximum(documents_G, 2)),
    )
    chosen_EG = (tokens_NE > 0).T @ member_NG
    known_EG = (chosen_EG >= MIN_INTERVAL_DOCUMENTS) & (documents_G < len(domain_id_N))
    return {
        "estimate": np.where(documents_G < len(domain_id_N), estimate_EG, np.nan),
        "low": np.where(known_EG, low_EG, np.nan),
        "high": np.where(known_EG, high_EG, np.nan),
        "n_documents": np.broadcast_to(documents_G.astype(int), tokens_EG.shape),
        "n_tokens": tokens_EG.astype(int),
        "null_error": null_error(tokens_NE, member_NG),
    }


def _frame(columns: dict[str, np.ndarray], domains: Sequence[str]) -> pd.DataFrame:
    layer_id, expert_id, domain_id = np.indices(columns["p"].shape).reshape(3, -1)
    table = pd.DataFrame(
        {"layer_id": layer_id, "expert_id": expert_id, "domain": np.array(domains)[domain_id]}
    )
    for name in ("estimate", "low", "high", "p", "q"):
        table[name] = pd.array(columns[name].ravel(), dtype="Float64")
    for name in ("n_documents", "n_tokens"):
        table[name] = columns[name].ravel()
    return _with_power(table, columns["null_error"].ravel())


def _with_power(table: pd.DataFrame, null_error: np.ndarray) -> pd.DataFrame:
    """smallest_detectable, enough, note."""
    per_domain = table.groupby("domain").n_documents.first()
    rest = per_domain.sum() - table.n_documents
    freedom = np.maximum(np.minimum(table.n_documents, rest) - 1, 1)
    detectable = detectable_lift(null_error, freedom, level=detection_level(table), power=POWER)
    tested = table.p.notna()
    table["smallest_detectable"] = pd.array(np.where(tested, detectable, np.nan), dtype="Float64")
    enough = (table.smallest_detectable <= np.log2(MIN_LIFT)) | (table.q < MAX_Q)
    table["enough"] = enough.fillna(False).astype(bool)
    table["note"] = np.select(
        [
            rest == 0,
            table.n_documents == 0,
            table.estimate.isna(),
            ~tested & (np.minimum(table.n_documents, rest) > 1),
            ~table.enough,
        ],
        [
            "one domain: nothing to compare",
            "no document of this domain",
            "never chosen",
            "documents all alike: nothing to test",
            NOT_ENOUGH,
        ],
        "",
    )
    return table
