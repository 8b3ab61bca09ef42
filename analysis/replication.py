"""Do the specialists of some documents show in other documents?

N = documents, L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.influence import log_lift
from analysis.significance import lift_table, require_documents, specialists

SPLITS = 5
FOLDS = 5
MIN_DOCUMENTS = 4  # of a domain: two in each half


def replication(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Two rows, `split_half` and `unseen_documents`.

    split_half: of the specialists of one half, the share that are specialists of the other, mean
    over SPLITS random halves of every domain, and Spearman's correlation of their lifts.
    unseen_documents: FOLDS times a part of every domain is left out; the share of specialists of
    the rest that prefer, in the part left out, the domain they are named after.

    check, estimate, low, high (95 %), null (chance), correlation, specialists (mean number
    judged), n_documents, note.
    """
    require_documents(tokens_NLE, domain_id_N)
    documents_G = np.bincount(domain_id_N, minlength=len(domains))
    present = np.flatnonzero(documents_G)
    rows = {"split_half": dict[str, object](), "unseen_documents": dict[str, object]()}
    if len(present) < 2:
        note = "one domain: nothing to compare"
    elif documents_G[present].min() < MIN_DOCUMENTS:
        few = domains[present[documents_G[present].argmin()]]
        note = f"{few} has fewer than {MIN_DOCUMENTS} documents: not enough prompts to say"
    else:
        note = ""
        rows["split_half"] = _split_half(tokens_NLE, domain_id_N, domains, seed)
        rows["unseen_documents"] = _unseen(tokens_NLE, domain_id_N, domains, seed)
    table = pd.DataFrame([{"check": name, "note": note} | row for name, row in rows.items()])
    numbers = ["estimate", "low", "high", "null", "correlation", "specialists"]
    table = table.reindex(columns=["check", *numbers, "n_documents", "note"])
    table["n_documents"] = len(domain_id_N)
    return table.astype(dict.fromkeys(numbers, "Float64"))


def _parts(domain_id_N: np.ndarray, *, count: int, rng: np.random.Generator) -> np.ndarray:
    """part_N: random, with every domain's documents spread evenly."""
    part_N = np.empty(len(domain_id_N), int)
    for domain_id in np.unique(domain_id_N):
        of = rng.permutation(np.flatnonzero(domain_id_N == domain_id))
        part_N[of] = (np.arange(len(of)) + rng.integers(count)) % count
    return part_N


def _split_half(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, domains: Sequence[str], seed: int
) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    again, chance, correlation, judged = [], [], [], []
    for _ in range(SPLITS):
        half_N = _parts(domain_id_N, count=2, rng=rng)
        halves = [
            lift_table(tokens_NLE[half_N == half], domain_id_N[half_N == half], domains=domains)
            for half in (0, 1)
        ]
        names = [_names(specialists(table)) for table in halves]
        both = names[0] & names[1]
        judged.append((len(names[0]) + len(names[1])) / 2)
        again += [len(both) / len(own) for own in names if own]
        chance += [len(other) / len(halves[0]) for other in names]
        lifts = np.stack([table.estimate.to_numpy(float, na_value=np.nan) for table in halves])
        known = ~np.isnan(lifts).any(0)
        correlation.append(_spearman(lifts[:, known]))
    if not again:
        return {"specialists": 0.0, "note": "no specialist in any half"}
    return {
        "estimate": float(np.mean(again)),
        "null": float(np.mean(chance)),
        "correlation": float(np.mean(correlation)),
        "specialists": float(np.mean(judged)),
    }


def _unseen(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, domains: Sequence[str], seed: int
) -> dict[str, object]:
    fold_N = _parts(domain_id_N, count=FOLDS, rng=np.random.default_rng(seed))
    member_NG = np.eye(len(domains))[domain_id_N]
    accuracy, judged = [], []
    for fold in range(FOLDS):
        seen_N = fold_N != fold
        if not (~seen_N).any():
            continue
        table = specialists(lift_table(tokens_NLE[seen_N], domain_id_N[seen_N], domains=domains))
        if table.empty:
            continue
        tokens_LEG = np.einsum("nle,ng->leg", tokens_NLE[~seen_N], member_NG[~seen_N])
        lift_LEG = np.nan_to_num(log_lift(tokens_LEG), nan=-np.inf)
        named = table.groupby(["layer_id", "expert_id"]).domain.agg(set)
        preferred = lift_LEG.argmax(-1)
        right = [domains[preferred[cell]] in claimed for cell, claimed in named.items()]
        accuracy.append(float(np.mean(right)))
        judged.append(len(right))
    if not accuracy:
        return {"specialists": 0.0, "note": "no specialist to judge"}
    low, high = _fold_interval(np.array(accuracy))
    present = len(np.unique(domain_id_N))
    return {
        "estimate": float(np.mean(accuracy)),
        "low": low,
        "high": high,
        "null": 1 / present,
        "specialists": float(np.mean(judged)),
    }


def _fold_interval(accuracy: np.ndarray) -> tuple[float | None, float | None]:
    """Student's over folds: their documents are disjoint, their experts are not."""
    if len(accuracy) < 2:
        return None, None
    error = accuracy.std(ddof=1) / np.sqrt(len(accuracy))
    width = stats.t.ppf(0.975, len(accuracy) - 1) * error
    mean = accuracy.mean()
    return float(max(0.0, mean - width)), float(min(1.0, mean + width))


def _names(table: pd.DataFrame) -> set[tuple[int, int, str]]:
    return set(zip(table.layer_id, table.expert_id, table.domain, strict=True))


def _spearman(lifts: np.ndarray) -> float:
    varies = lifts.shape[1] > 1 and (np.ptp(lifts, axis=1) > 0).all()
    return float(stats.spearmanr(*lifts).statistic) if varies else 0.0
