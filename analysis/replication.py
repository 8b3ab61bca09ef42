"""Do the specialists of some texts show in other texts?

N = groups, L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_numbers
from analysis.influence import log_lift
from analysis.layers import experts
from analysis.permutation import false_discovery_rate, permuted_labels
from analysis.significance import lift_table, require_groups, specialists

SPLITS = 5
FOLDS = 5
PERMUTATIONS = 200  # of labels over the groups of the other half, or of those left out
NUMBERS = ("estimate", "low", "high", "null", "p", "q", "correlation", "specialists")
COLUMNS = ("check", *NUMBERS, "n_groups", "n_tokens", "note")
OVERLAP = "p is of the correlation; no interval: one split halves the groups of another"


def replication(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    experts_L: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Two rows, `split_half` and `unseen_documents`; experts_L as in analysis/layers.py.

    split_half: of the specialists of one half, the share that are specialists of the other, mean
    over SPLITS random halves of every domain, and Spearman's correlation of their lifts.
    unseen_documents: FOLDS times a part of every domain is left out; the share of specialists of
    the rest that prefer, in the part left out, the domain they are named after.

    check, estimate, low, high (95 %), null (chance), p (labels permuted over the groups of one
    half: of the correlation; over those left out: of the estimate), q (over both), correlation,
    specialists (mean number judged), n_groups, n_tokens (choices), note.
    """
    require_groups(tokens_NLE, domain_id_N)
    load_N = tokens_NLE.sum((1, 2))
    effective_G = effective_numbers(load_N, domain_id_N, num_domains=len(domains))
    present = np.unique(domain_id_N)
    rows = {"split_half": dict[str, object](), "unseen_documents": dict[str, object]()}
    if len(present) < 2:
        note = "one domain: nothing to compare"
    elif (effective_G >= 2 * MIN_EFFECTIVE).sum() == 0:
        note = f"no domain counts as {2 * MIN_EFFECTIVE} independent texts: {NOT_ENOUGH}"
    else:
        note = ""
        given = tokens_NLE, domain_id_N, domains, experts_L
        rows["split_half"] = _split_half(*given, seed)
        rows["unseen_documents"] = _unseen_documents(*given, seed)
    table = pd.DataFrame([{"check": name, "note": note} | row for name, row in rows.items()])
    table = table.reindex(columns=list(COLUMNS))
    table["n_groups"], table["n_tokens"] = len(domain_id_N), int(tokens_NLE.sum())
    table["q"] = false_discovery_rate(table.p.to_numpy(float))
    return table.astype(dict.fromkeys(NUMBERS, "Float64"))


def _parts(domain_id_N: np.ndarray, *, count: int, rng: np.random.Generator) -> np.ndarray:
    """part_N: random, with every domain's groups spread evenly."""
    part_N = np.empty(len(domain_id_N), int)
    for domain_id in np.unique(domain_id_N):
        of = rng.permutation(np.flatnonzero(domain_id_N == domain_id))
        part_N[of] = (np.arange(len(of)) + rng.integers(count)) % count
    return part_N


def _split_half(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    domains: Sequence[str],
    experts_L: np.ndarray | None,
    seed: int,
) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    again, chance, correlation, judged = [], [], [], []
    lifts = partial(lift_table, domains=domains, experts_L=experts_L)
    is_expert_LE = experts(tokens_NLE.shape[1:], experts_L)
    for split in range(SPLITS):
        half_N = _parts(domain_id_N, count=2, rng=rng)
        halves = [lifts(tokens_NLE[half_N == half], domain_id_N[half_N == half]) for half in (0, 1)]
        names = [_names(specialists(table)) for table in halves]
        both = names[0] & names[1]
        judged.append((len(names[0]) + len(names[1])) / 2)
        again += [len(both) / len(own) for own in names if own]
        chance += [len(other) / len(halves[0]) for other in names]
        first_C = halves[0].estimate.to_numpy(float, na_value=np.nan)
        lift_PLEG = _permuted_lifts(
            tokens_NLE[half_N == 1],
            domain_id_N[half_N == 1],
            num_domains=len(domains),
            seed=seed + split,
        )
        correlation_P = _correlations(first_C, lift_PLEG[:, is_expert_LE])
        correlation.append(correlation_P)
    if not again:
        return {"specialists": 0.0, "note": "no specialist in any half"}
    mean_P = np.mean(correlation, 0)
    return {
        "estimate": float(np.mean(again)),
        "null": float(np.mean(chance)),
        "p": _rank_p(mean_P),
        "correlation": float(mean_P[0]),
        "note": OVERLAP,
        "specialists": float(np.mean(judged)),
    }


def _unseen_documents(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    domains: Sequence[str],
    experts_L: np.ndarray | None,
    seed: int,
) -> dict[str, object]:
    lifts = partial(lift_table, domains=domains, experts_L=experts_L)
    fold_N = _parts(domain_id_N, count=FOLDS, rng=np.random.default_rng(seed))
    accuracy, judged = [], []
    for fold in range(FOLDS):
        seen_N = fold_N != fold
        if not (~seen_N).any():
            continue
        table = specialists(lifts(tokens_NLE[seen_N], domain_id_N[seen_N]))
        if table.empty:
            continue
        lift_PLEG = _permuted_lifts(
            tokens_NLE[~seen_N], domain_id_N[~seen_N], num_domains=len(domains), seed=seed + fold
        )
        named = [list(table[name]) for name in ("layer_id", "expert_id")]
        preferred = np.nan_to_num(lift_PLEG, nan=-np.inf).argmax(-1)[:, *named]
        claimed = [domains.index(name) for name in table.domain]
        right = pd.DataFrame((preferred == claimed).T).groupby(named).any()  # of several domains
        accuracy.append(right.mean().to_numpy())
        judged.append(len(right))
    if not accuracy:
        return {"specialists": 0.0, "note": "no specialist to judge"}
    low, high = _fold_interval(np.array([fold_P[0] for fold_P in accuracy]))
    mean_P = np.mean(accuracy, 0)
    present = len(np.unique(domain_id_N))
    return {
        "estimate": float(mean_P[0]),
        "low": low,
        "high": high,
        "note": "no interval: every fifth gives the same" if low is None else "",
        "null": 1 / present,
        "p": _rank_p(mean_P),
        "specialists": float(np.mean(judged)),
    }


def _fold_interval(accuracy: np.ndarray) -> tuple[float | None, float | None]:
    """Student's over folds: their groups are disjoint, their experts are not."""
    if len(accuracy) < 2:
        return None, None
    error = accuracy.std(ddof=1) / np.sqrt(len(accuracy))
    if error == 0:  # five folds that agree say nothing of how far others would not
        return None, None
    width = stats.t.ppf(0.975, len(accuracy) - 1) * error
    mean = accuracy.mean()
    return float(max(0.0, mean - width)), float(min(1.0, mean + width))


def _names(table: pd.DataFrame) -> set[tuple[int, int, str]]:
    return set(zip(table.layer_id, table.expert_id, table.domain, strict=True))


def _permuted_lifts(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, num_domains: int, seed: int
) -> np.ndarray:
    """log2 lifts [1 + P, L, E, G]: by the labels as they are, then permuted over groups."""
    labels_PN = permuted_labels(domain_id_N, permutations=PERMUTATIONS, seed=seed)
    member_PGN = (labels_PN[:, None] == np.arange(num_domains)[:, None]).astype(np.float32)
    tokens_PGC = member_PGN @ tokens_NLE.reshape(len(tokens_NLE), -1).astype(np.float32)
    tokens_PGLE = tokens_PGC.reshape(-1, num_domains, *tokens_NLE.shape[1:])
    return log_lift(np.moveaxis(tokens_PGLE, 1, -1).astype(np.float64))


def _correlations(first_C: np.ndarray, lift_PEG: np.ndarray) -> np.ndarray:
    """Spearman's of the lifts of one half with the other's, as they are and permuted [1 + P];
    experts of all layers."""
    other_PC = lift_PEG.reshape(len(lift_PEG), -1)
    known_C = ~(np.isnan(first_C) | np.isnan(other_PC).any(0))
    ranks_PC = stats.rankdata(other_PC[:, known_C], axis=-1)
    rank_C = stats.rankdata(first_C[known_C])
    centred_PC = ranks_PC - ranks_PC.mean(-1, keepdims=True)
    centred_C = rank_C - rank_C.mean()
    spread_P = np.sqrt((centred_PC**2).sum(-1) * (centred_C**2).sum())
    return np.divide(
        centred_PC @ centred_C, spread_P, out=np.zeros(len(spread_P)), where=spread_P > 0
    )


def _rank_p(values_P: np.ndarray) -> float:
    """How often permuted labels show as much as the first value."""
    return float((1 + (values_P[1:] >= values_P[0] - 1e-12).sum()) / len(values_P))
