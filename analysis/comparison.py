"""Models against one another on the same held-out documents, several seeds each.

M = trainings, N = documents.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.chance import bits_per_byte
from analysis.groups import NOT_ENOUGH, summed, units
from analysis.ratios import Interval, ratio_interval
from data.labels import ALL, name_of
from data.routing import Document

CLEAR_SPREADS = 2.0  # of the seeds: a difference below is not called one
BETTER, WORSE, UNDECIDED = "better", "worse", "not decided"


def bits_table(losses: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """preset, domain, estimate, low, high, n, n_groups, seeds, lowest, highest: bits per byte.

    losses: preset, seed, doc_id, nats; documents: doc_id, domain, group, bytes. The estimate is
    the mean over seeds, its interval that of other groups of texts; lowest and highest are the
    seeds' own.
    """
    ordered = documents.sort_values("doc_id")
    tables = []
    for preset, runs in losses.groupby("preset", sort=False):
        nats_MN = runs.pivot(index="seed", columns="doc_id", values="nats").to_numpy()
        bytes_N, domain_N = ordered["bytes"].to_numpy(), ordered.domain.tolist()
        table = bits_per_byte(nats_MN.mean(0), bytes_N, domain_N, unit_N=_units(ordered))
        by_seed = [_bits(nats_N, bytes_N, domain_N) for nats_N in nats_MN]
        spread = pd.DataFrame(by_seed)[table.domain]
        tables.append(
            table[["domain", "estimate", "low", "high", "n", "n_groups"]].assign(
                preset=preset,
                seeds=len(nats_MN),
                lowest=spread.min().to_numpy(),
                highest=spread.max().to_numpy(),
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table[["preset", *table.columns.drop("preset")]]


def _units(documents: pd.DataFrame) -> np.ndarray:
    return units(documents.domain.tolist(), documents.group.tolist())


class Difference(Interval):
    spread: float  # what another seed moves it by: one standard deviation
    seeds: int  # that both have
    verdict: str
    reason: str  # why it is UNDECIDED, else empty


def difference(
    losses: pd.DataFrame,
    documents: pd.DataFrame,
    preset: str,
    other: str,
    *,
    domain: str = ALL,
) -> Difference:
    """Bits per byte of `preset` less those of `other` on a domain, on the seeds of both.

    low and high: other groups of texts (95 %). spread: what another seed
    moves such a difference by, one standard deviation. The verdict asks both: the interval without
    0, and CLEAR_SPREADS spreads of the mean over the common seeds.
    """
    ordered = documents.sort_values("doc_id")
    nats_SN = _paired_differences(losses, preset, other)
    of_N = np.array((ordered.domain == domain) | (domain == ALL))
    interval = _interval(nats_SN.mean(0)[of_N] / np.log(2), ordered[of_N])
    spread, seeds = seed_spread(losses, documents, domain=domain), len(nats_SN)
    reason = undecided_reason(interval, spread, seeds)
    better = BETTER if interval["estimate"] < 0 else WORSE
    verdict = UNDECIDED if reason else better
    return Difference(**interval, spread=spread, seeds=seeds, verdict=verdict, reason=reason)


def variant_table(losses: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """preset, variant, bits, change, low, high, n, n_groups: bits per byte of a model whose routing
    is changed, and what the change costs, with the 95 % interval of other groups of texts.

    losses: preset, variant ("" is the model as it is), doc_id, nats of one seed.
    """
    ordered = documents.sort_values("doc_id")
    total = ordered["bytes"].sum()
    rows = []
    for preset, runs in losses.groupby("preset", sort=False):
        bits_VN = runs.pivot(index="variant", columns="doc_id", values="nats") / np.log(2)
        plain_N = bits_VN.loc[""].to_numpy()
        for variant in (name for name in runs.variant.unique() if name):
            change_N = bits_VN.loc[variant].to_numpy() - plain_N
            interval = _interval(change_N, ordered)
            bits = (plain_N + change_N).sum() / total
            change = {
                "change": interval["estimate"],
                "low": interval["low"],
                "high": interval["high"],
            }
            rows.append({"preset": preset, "variant": variant, "bits": bits, **change})
    return pd.DataFrame(rows).assign(n=len(ordered), n_groups=len(np.unique(_units(ordered))))


def _interval(amount_N: np.ndarray, documents: pd.DataFrame) -> Interval:
    """Of the amounts per byte, groups of texts as a sample within their domain."""
    unit_N = _units(documents)
    first = np.unique(unit_N, return_index=True)[1]
    domain_id_N = np.unique(documents.domain, return_inverse=True)[1][first]
    sizes_N = summed(documents["bytes"].to_numpy(), unit_N)
    return ratio_interval(summed(amount_N, unit_N), sizes_N, domain_id_N)


def _paired_differences(losses: pd.DataFrame, preset: str, other: str) -> np.ndarray:
    """Differences of nats by common seed and document [S, N]: same seed, same data in order."""
    first, second = (
        losses[losses.preset == name].pivot(index="seed", columns="doc_id", values="nats")
        for name in (preset, other)
    )
    common = first.index.intersection(second.index)
    if common.empty:
        raise ValueError(f"{preset} and {other} have no seed in common; train both with one")
    return (first.loc[common] - second.loc[common]).to_numpy()


def seed_spread(losses: pd.DataFrame, documents: pd.DataFrame, *, domain: str = ALL) -> float:
    """Standard deviation over seeds of a difference of two models, bits per byte: pooled over the
    pairs of presets with two common seeds or more."""
    if domain != ALL:
        documents = documents[documents.domain == domain]
        losses = losses[losses.doc_id.isin(documents.doc_id)]
    total = documents["bytes"].sum() * np.log(2)
    means = losses.groupby(["preset", "seed"]).nats.sum().unstack("seed") / total
    several = means[means.notna().sum(1) > 1]
    squares, freedom = 0.0, 0
    for place in range(len(several)):
        for other in range(place):
            differences = (several.iloc[place] - several.iloc[other]).dropna()
            squares += float(((differences - differences.mean()) ** 2).sum())
            freedom += len(differences) - 1
    if freedom < 1:
        return float("nan")
    return float(np.sqrt(squares / freedom))


def undecided_reason(interval: Interval, spread: float, seeds: int) -> str:
    """Why a difference over so many seeds is not called one; empty where it is."""
    moved = CLEAR_SPREADS * spread / np.sqrt(seeds)
    reasons = []
    if np.isnan(interval["low"]):
        reasons.append(NOT_ENOUGH)
    elif interval["low"] <= 0 <= interval["high"]:
        reasons.append("the interval over texts holds 0")
    if np.isnan(moved):
        reasons.append("no two models have two seeds, so what a seed changes is unknown")
    elif abs(interval["estimate"]) <= moved:
        runs = "one seed" if seeds == 1 else f"{seeds} seeds"
        reasons.append(f"seeds alone change it by {moved:.4f}, two standard errors over {runs}")
    return "; ".join(reasons)


def _bits(nats_N: np.ndarray, bytes_N: np.ndarray, domain_N: Sequence[str]) -> dict[str, float]:
    frame = pd.DataFrame({"nats": nats_N, "bytes": bytes_N, "domain": list(domain_N)})
    sums = frame.groupby("domain")[["nats", "bytes"]].sum()
    sums.loc[ALL] = sums.sum()
    return (sums.nats / sums["bytes"] / np.log(2)).to_dict()


def change_table(
    before_N: np.ndarray, after_N: np.ndarray, documents: Sequence[Document]
) -> pd.DataFrame:
    """domain, before, after, change, low, high, n, n_groups: bits per byte; the interval is of the
    change, on the same documents."""
    bytes_N = np.array([len(document.text.encode()) for document in documents])
    domain_N = [name_of(document.domain) for document in documents]
    unit_N = units(domain_N, [document.group for document in documents])
    plain = bits_per_byte(before_N, bytes_N, domain_N, unit_N=unit_N)
    change = bits_per_byte(after_N - before_N, bytes_N, domain_N, unit_N=unit_N)
    return pd.DataFrame(
        {
            "domain": plain.domain,
            "before": plain.estimate,
            "after": plain.estimate + change.estimate,
            "change": change.estimate,
            "low": change.low,
            "high": change.high,
            "n": plain.n,
            "n_groups": plain.n_groups,
        }
    )
