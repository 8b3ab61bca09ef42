"""What is over-represented among some points of a map: domains, experts, words.

P = points, I = items (domains, experts or words), B = bags: whole groups of texts, put together at
random, so that there are few enough to leave each of them out.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.permutation import false_discovery_rate
from analysis.significance import MAX_Q

BAGS = 200
MIN_POINTS = 20  # that have an item, of all points
RARE = 5  # of them inside, if the area had its share: of fewer, bags are counted
MIN_BAGS = 5  # in which it occurs: fewer do not show how groups differ
LEAST_P = 1e-16  # what is smaller says no more
DECIMALS = 6  # to which parts of a point add up
SEED = 0


@dataclass(frozen=True, slots=True)
class Brush:
    """Points inside an area, all of them beside it, and the groups of texts that they come from."""

    inside_P: np.ndarray
    bag_P: np.ndarray
    freedom: float  # what the spread between groups is known by; NaN: too few to say
    note: str  # why there are no intervals; empty if there are
    weight_P: np.ndarray | None = None  # what each counts; None: all the same
    points_P: np.ndarray | None = None  # how many pieces of evidence each is; None: one

    @classmethod
    def of(
        cls,
        inside_P: np.ndarray,
        unit_P: np.ndarray,
        *,
        what: str = "points",
        weight_P: np.ndarray | None = None,
        points_P: np.ndarray | None = None,
    ) -> "Brush":
        names, unit_P = np.unique(unit_P, return_inverse=True)
        bag_U = np.random.default_rng(SEED).permutation(len(names)) % BAGS
        all_U = np.bincount(unit_P, points_P)
        inside = inside_P if points_P is None else np.where(inside_P, points_P, 0)
        size_U = np.bincount(unit_P, inside)
        freedom, note = _freedom(size_U, all_U - size_U, what)
        return cls(inside_P, bag_U[unit_P], freedom, note, weight_P, points_P)

    def compared(self, item_P: np.ndarray, num_items: int) -> tuple[np.ndarray, pd.DataFrame]:
        """The items that are frequent enough, ascending, and a row of over_represented() for each;
        an item below 0 is none."""
        known = np.flatnonzero(item_P >= 0)
        points_P = None if self.points_P is None else self.points_P[known]
        points_I = np.bincount(item_P[known], points_P, minlength=num_items).round(DECIMALS)
        kept_I = np.flatnonzero(points_I >= MIN_POINTS)
        place = np.full(num_items + 1, -1)
        place[kept_I] = np.arange(len(kept_I))
        counts_2BI = self._counts(place[item_P], len(kept_I), self.weight_P)
        sizes_2B = self._counts(np.zeros(len(item_P), np.int8), 1, self.weight_P)[..., 0]
        points_2BI = counts_2BI
        if self.points_P is not self.weight_P:
            points_2BI = self._counts(place[item_P], len(kept_I), self.points_P)
            points_2BI = np.ceil(points_2BI.round(DECIMALS))
        return kept_I, over_represented(counts_2BI, sizes_2B, self.freedom, points_2BI)

    def by_name(self, values: pd.Series, name: str) -> pd.DataFrame:
        """The same by the categories of a column, which become the first one."""
        names = np.asarray(values.cat.categories, object)
        kept_I, table = self.compared(values.cat.codes.to_numpy().astype(np.int64), len(names))
        table.insert(0, name, names[kept_I])
        return table

    def _counts(self, item_P: np.ndarray, num_items: int, of_P: np.ndarray | None) -> np.ndarray:
        """Of points inside and not, by bag and item [2, B, I]."""
        known = np.flatnonzero(item_P >= 0)
        cell = self.bag_P[known] * np.int64(num_items) + item_P[known]
        cell += np.where(self.inside_P[known], 0, np.int64(BAGS) * num_items)
        of = None if of_P is None else of_P[known]
        return np.bincount(cell, of, minlength=2 * BAGS * num_items).reshape(2, BAGS, num_items)


def _freedom(size_U: np.ndarray, rest_U: np.ndarray, what: str) -> tuple[float, str]:
    """What the spread between groups is known by, of so many `what` inside and not of each; NaN,
    and why, where there are too few."""
    effective = min(effective_number(size_U), effective_number(rest_U))
    if np.count_nonzero(size_U) == 1:
        return np.nan, f"All of these {what} come from one group of texts, so there is no interval."
    if effective < MIN_EFFECTIVE:
        return np.nan, (
            f"These {what}, or the others, are as good as {effective:.1f} groups of texts of "
            f"equal length; {MIN_EFFECTIVE} are needed for an interval: {NOT_ENOUGH}."
        )
    return min(effective, BAGS) - 1, ""


def over_represented(
    counts_2BI: np.ndarray, sizes_2B: np.ndarray, freedom: float, points_2BI: np.ndarray
) -> pd.DataFrame:
    """points (inside, by their weights), share, share_of_rest, ratio, low, high (95 %), p; a row an
    item, in order.

    The ratio is that of the shares, half a point added to each count. Its interval leaves out every
    bag in turn; NaN where `freedom` is NaN or an item is RARE or in fewer than MIN_BAGS bags.
    `points_2BI`: how many points the counts, which may be sums of weights, are of.
    """
    counts_2I, sizes_2 = counts_2BI.sum(1), sizes_2B.sum(1)
    log_I, error_I = _log_ratio(counts_2I, sizes_2[:, None]), _errors(counts_2BI, sizes_2B)
    error_I[np.count_nonzero(points_2BI.sum(0), axis=0) < MIN_BAGS] = np.nan
    p_I = np.maximum(2 * special.stdtr(freedom, -np.abs(log_I) / error_I), LEAST_P)
    rare_I = points_2BI.sum((0, 1)) * sizes_2[0] / max(sizes_2.sum(), 1e-12) < RARE
    p_I[rare_I] = np.maximum(p_I, _rare_p(points_2BI, sizes_2B))[rare_I]
    reach_I = special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.where(rare_I, np.nan, error_I)
    return pd.DataFrame(
        {
            "points": counts_2I[0].round().astype(int),
            "share": counts_2I[0] / max(sizes_2[0], 1e-12),
            "share_of_rest": counts_2I[1] / max(sizes_2[1], 1e-12),
            "ratio": np.exp(log_I),
            "low": np.exp(log_I - reach_I),
            "high": np.exp(log_I + reach_I),
            "p": p_I,
        }
    )


def _errors(counts_2BI: np.ndarray, sizes_2B: np.ndarray) -> np.ndarray:
    """Standard errors of the log ratios by the jackknife; NaN where no bag makes a difference."""
    used = np.flatnonzero(sizes_2B.sum(0))
    without_2BI = counts_2BI.sum(1, keepdims=True) - counts_2BI[:, used]
    sizes_2B1 = (sizes_2B.sum(1, keepdims=True) - sizes_2B[:, used])[..., None]
    log_BI = _log_ratio(without_2BI, sizes_2B1)
    spread_I = ((log_BI - log_BI.mean(0)) ** 2).sum(0) * (len(used) - 1) / max(len(used), 1)
    return np.sqrt(np.where(spread_I > 0, spread_I, np.nan))


def _rare_p(points_2BI: np.ndarray, sizes_2B: np.ndarray) -> np.ndarray:
    """That so many bags have the item inside, if each of its points lay there with the probability
    of any point: Poisson's tail, which is wider than theirs, and points of a bag lie together, so
    that fewer bags would have one; twice, as the other test is two-sided."""
    share = sizes_2B[0].sum() / max(sizes_2B.sum(), 1e-12)
    expected_I = (1 - (1 - share) ** points_2BI.sum(0)).sum(0)
    found_I = np.count_nonzero(points_2BI[0], axis=0)
    tail_I = special.gammainc(np.maximum(found_I, 1), expected_I)  # P(at least so many)
    return np.where(found_I > expected_I, np.minimum(1, 2 * tail_I), 1.0)


def _log_ratio(counts_2: np.ndarray, sizes_2: np.ndarray) -> np.ndarray:
    """Of the share inside over that of the rest; the first axis is inside, rest."""
    shares = (counts_2 + 0.5) / (sizes_2 + 1)
    return np.log(shares[0]) - np.log(shares[1])


def with_q(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same with q over all that was tested in any of them; those first that are more frequent
    for sure, by the lower end of the interval, else by the ratio."""
    p = np.concatenate([table.p.to_numpy(float) for table in tables.values()])
    q = np.split(false_discovery_rate(p), np.cumsum([len(table) for table in tables.values()])[:-1])
    made = {}
    for (name, table), of_table in zip(tables.items(), q, strict=True):
        best = table.low.fillna(0.0 if table.low.notna().any() else table.ratio)
        sure = (of_table < MAX_Q) & (table.ratio > 1)
        order = np.lexsort((-table.ratio, -best, ~sure))
        made[name] = table.assign(q=of_table).iloc[order].reset_index(drop=True)
    return made
