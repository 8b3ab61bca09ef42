"""Do the specialists of some texts show in other texts?

N = groups, L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_numbers
from analysis.influence import log_lift
from analysis.layers import experts, in_threads
from analysis.permutation import false_discovery_rate, members, permuted_labels, permuted_loads
from analysis.significance import MAX_Q, lift_columns, require_groups
from analysis.specialization import MIN_LIFT

SPLITS = 5
FOLDS = 5
TOGETHER = 20_000_000  # cells of permutations in memory
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
    is_expert_LE = experts(tokens_NLE.shape[1:], experts_L)
    for split in range(SPLITS):
        half_N = _parts(domain_id_N, count=2, rng=rng)
        of = [(tokens_NLE[half_N == half], domain_id_N[half_N == half]) for half in (0, 1)]
        halves = [lift_columns(*given, num_domains=len(domains)) for given in of]
        claims = [_claimed(columns) for columns in halves]
        both = (claims[0] & claims[1]).sum()
        number = [int(claimed_LEG.sum()) for claimed_LEG in claims]
        judged.append(sum(number) / 2)
        again += [both / own for own in number if own]
        chance += [other / (is_expert_LE.sum() * len(domains)) for other in number]
        first_LEG = np.where(is_expert_LE[..., None], halves[0]["estimate"], np.nan)
        labels_PN = permuted_labels(of[1][1], permutations=PERMUTATIONS, seed=seed + split)
        correlation.append(_correlations(first_LEG, of[1][0], labels_PN))
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
    fold_N = _parts(domain_id_N, count=FOLDS, rng=np.random.default_rng(seed))
    accuracy, judged = [], []
    for fold in range(FOLDS):
        seen_N = fold_N != fold
        if not (~seen_N).any():
            continue
        claimed_LEG = _claimed(
            lift_columns(tokens_NLE[seen_N], domain_id_N[seen_N], num_domains=len(domains))
        )
        layer_id, expert_id = np.nonzero(claimed_LEG.any(-1))
        if not layer_id.size:
            continue
        labels_PN = permuted_labels(
            domain_id_N[~seen_N], permutations=PERMUTATIONS, seed=seed + fold
        )
        named = layer_id, expert_id
        preferred_PS = _preferred(tokens_NLE[~seen_N], labels_PN, named, len(domains))
        right_PS = claimed_LEG[layer_id, expert_id, preferred_PS]  # of several domains, any
        accuracy.append(right_PS.mean(-1))
        judged.append(len(layer_id))
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
    width = special.stdtrit(len(accuracy) - 1, 0.975) * error
    mean = accuracy.mean()
    return float(max(0.0, mean - width)), float(min(1.0, mean + width))


def _claimed(columns_LEG: dict[str, np.ndarray]) -> np.ndarray:
    """Which cells are specialists, as in specialists()."""
    return (columns_LEG["q"] < MAX_Q) & (columns_LEG["estimate"] >= np.log2(MIN_LIFT))


def _preferred(
    tokens_NLE: np.ndarray,
    labels_PN: np.ndarray,
    named: tuple[np.ndarray, np.ndarray],
    num_domains: int,
) -> np.ndarray:
    """The domain of the highest of _permuted_lifts() [1 + P, S]; TOGETHER of them at a time."""
    together = max(1, TOGETHER // (len(labels_PN) * num_domains))
    parts = []
    for first in range(0, len(named[0]), together):
        some = named[0][first : first + together], named[1][first : first + together]
        lift_PSG = _permuted_lifts(tokens_NLE, labels_PN, some, num_domains)
        parts.append(np.nan_to_num(lift_PSG, nan=-np.inf).argmax(-1))
    return np.concatenate(parts, axis=1)


def _permuted_lifts(
    tokens_NLE: np.ndarray,
    labels_PN: np.ndarray,
    named: tuple[np.ndarray, np.ndarray],
    num_domains: int,
) -> np.ndarray:
    """log2 lifts of these experts, by layer and number [1 + P, S, G]."""
    layer_id, expert_id = named
    size_NL = tokens_NLE.sum(-1, dtype=np.float64)
    size_PLG = _permuted_sums(size_NL, labels_PN, num_domains=num_domains)
    tokens_NS = tokens_NLE[:, layer_id, expert_id]
    tokens_PSG = _permuted_sums(tokens_NS, labels_PN, num_domains=num_domains)
    return log_lift(tokens_PSG, size_PLG[:, layer_id])


def _permuted_sums(value_NC: np.ndarray, labels_PN: np.ndarray, *, num_domains: int) -> np.ndarray:
    """Sums over the groups of each label [1 + P, C, G]."""
    member_NC = members(labels_PN, num_domains=num_domains)
    sums_CGP = permuted_loads(value_NC, member_NC, num_domains=num_domains)
    return np.moveaxis(sums_CGP, -1, 0).astype(np.float64)


def _correlations(
    first_LEG: np.ndarray, tokens_NLE: np.ndarray, labels_PN: np.ndarray
) -> np.ndarray:
    """Spearman's of the lifts of one half with the other's, as they are and permuted [1 + P];
    experts of all layers."""
    num_layers, num_experts, num_domains = first_LEG.shape
    size_NL = tokens_NLE.sum(-1, dtype=np.float64)
    size_PLG = _permuted_sums(size_NL, labels_PN, num_domains=num_domains)
    known_LEG = ~np.isnan(first_LEG) & (tokens_NLE.max(0) > 0)[..., None]
    known_LEG &= (size_PLG.min(0) > 0)[:, None]
    rank_C = _centred_ranks(first_LEG[known_LEG])
    together = max(1, TOGETHER // first_LEG.size)
    correlations = []
    for first in range(0, len(labels_PN), together):
        member_NC = members(labels_PN[first : first + together], num_domains=num_domains)
        shape = num_layers, num_experts, num_domains, member_NC.shape[1] // num_domains
        tokens_LEGP = np.empty(shape, np.float32)

        def put(layer_id: int, to: np.ndarray = tokens_LEGP, of: np.ndarray = member_NC) -> None:
            to[layer_id] = permuted_loads(tokens_NLE[:, layer_id], of, num_domains=num_domains)

        def of_permutation(
            place: int, tokens: np.ndarray = tokens_LEGP, first: int = first
        ) -> float:
            tokens_LEG = tokens[..., place].astype(np.float64)
            lift_LEG = log_lift(tokens_LEG, size_PLG[first + place][:, None])
            own_C = _centred_ranks(lift_LEG[known_LEG])
            spread = np.sqrt((own_C @ own_C) * (rank_C @ rank_C))
            return float(own_C @ rank_C / spread) if spread > 0 else 0.0

        in_threads(put, num_layers)
        correlations += in_threads(of_permutation, shape[-1])
    return np.array(correlations)


def _centred_ranks(value_C: np.ndarray) -> np.ndarray:
    """Less their mean; those of equal values are alike."""
    order_C = np.argsort(value_C)
    ordered_C = value_C[order_C]
    starts_C = np.append(True, ordered_C[1:] != ordered_C[:-1])[: len(value_C)]
    bounds = np.append(np.flatnonzero(starts_C), len(value_C))
    middle = (bounds[:-1] + bounds[1:] - len(value_C)) / 2
    rank_C = np.empty(len(value_C))
    rank_C[order_C] = np.repeat(middle, np.diff(bounds))
    return rank_C


def _rank_p(values_P: np.ndarray) -> float:
    """How often permuted labels show as much as the first value."""
    return float((1 + (values_P[1:] >= values_P[0] - 1e-12).sum()) / len(values_P))
