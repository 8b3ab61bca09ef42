"""Flips as tables: with their intervals over groups of texts, and what unrelated routers give.

N = groups, L = MoE layers, H = phases, A = amounts, B = bins of margins, P = places.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.groups import summed
from analysis.matching.flips import AMOUNTS, FIGURES, MARGINS, WITH_NULL, Flips
from analysis.ratios import Interval, share_interval
from data.routing import PHASES

COLUMNS = ["figure", "estimate", "low", "high", "unrelated", "n", "n_groups"]


def flip_table(found: Flips, domain_N: np.ndarray, domains: Sequence[str]) -> pd.DataFrame:
    """by (all, layer, domain, phase), layer_id, domain, phase and for every one of FIGURES its
    estimate with its 95 % interval, that of unrelated routers, n (of what it is a share, tokens or
    characters) and n_groups. Only what occurs."""
    sums_NHLA, nulls_NHLA = found.sums_NHLA, found.unrelated_NHLA
    rows = [_rows(sums_NHLA.sum((1, 2)), nulls_NHLA.sum((1, 2)), domain_N, by="all")]
    for layer_id in range(sums_NHLA.shape[2]):
        of = sums_NHLA[:, :, layer_id].sum(1), nulls_NHLA[:, :, layer_id].sum(1)
        rows.append(_rows(*of, domain_N, by="layer", layer_id=layer_id))
    for domain_id in np.unique(domain_N):
        here_N = domain_N == domain_id
        of = sums_NHLA[here_N].sum((1, 2)), nulls_NHLA[here_N].sum((1, 2))
        rows.append(_rows(*of, domain_N[here_N], by="domain", domain=domains[domain_id]))
    for place, phase in enumerate(PHASES):
        of = sums_NHLA[:, place].sum(1), nulls_NHLA[:, place].sum(1)
        rows.append(_rows(*of, domain_N, by="phase", phase=phase))
    table = pd.DataFrame([row for part in rows for row in part])
    table = table[table.n > 0].reindex(columns=["by", "layer_id", "domain", "phase", *COLUMNS])
    return table.astype({"layer_id": "Int64"}).reset_index(drop=True)


def _rows(
    sums_NA: np.ndarray, nulls_NA: np.ndarray, domain_N: np.ndarray, **of: object
) -> Iterator[dict[str, object]]:
    for figure, names in FIGURES.items():
        amount, size = (AMOUNTS.index(name) for name in names)
        null = nulls_NA[:, amount].sum() / max(nulls_NA[:, size].sum(), 1e-300)
        known = figure in WITH_NULL and nulls_NA[:, size].any()
        yield {
            **of,
            "figure": figure,
            **share_interval(sums_NA[:, amount], sums_NA[:, size], domain_N),
            "unrelated": float(null) if known else np.nan,
            "n": int(sums_NA[:, size].sum()),
            "n_groups": int((sums_NA[:, size] > 0).sum()),
        }


def flips_by_margin(found: Flips, domain_N: np.ndarray) -> pd.DataFrame:
    """above, up_to (a bin of the first trace's margins; 0 and the last without end), estimate (the
    flip rate), low, high, unrelated, share (of all decisions), n, n_groups; bins that occur."""
    total = max(found.decisions_NB.sum(), 1)
    rows = []
    for place in np.flatnonzero(found.decisions_NB.any(0)):
        size_N = found.decisions_NB[:, place]
        rows.append(
            {
                "above": MARGINS[place - 1] if place else 0.0,
                "up_to": MARGINS[place] if place < len(MARGINS) else np.inf,
                **share_interval(found.flips_NB[:, place], size_N, domain_N),
                "unrelated": float(found.unrelated_flips_NB[:, place].sum() / size_N.sum()),
                "share": float(size_N.sum() / total),
                "n": int(size_N.sum()),
                "n_groups": int((size_N > 0).sum()),
            }
        )
    columns = ["above", "up_to", *COLUMNS[1:5], "share", *COLUMNS[5:]]
    return pd.DataFrame(rows, columns=columns)


class Differing(Interval):
    unrelated: float
    independent: float
    mean_layers: float
    n: int
    n_groups: int


def tokens_that_differ(
    found: Flips, *, group_P: np.ndarray, domain_N: np.ndarray, size_P: np.ndarray
) -> Differing:
    """The share of tokens (or characters) that flip in a layer or more, with its interval; of
    unrelated routers, and of layers that flip as often as they do but independently; and the mean
    number of layers in which they flip."""
    some_P = found.compared_PL.any(-1)
    size_P = np.where(some_P, size_P, 0)
    size_N = summed(size_P, group_P)
    amount_N = summed(size_P * found.flipped_PL.any(-1), group_P)
    decisions_L, flips_L = (
        (part_PL * size_P[:, None]).sum(0) for part_PL in (found.compared_PL, found.flipped_PL)
    )
    rate_L = flips_L / np.maximum(decisions_L, 1)
    total = max(size_P.sum(), 1)
    return Differing(
        **share_interval(amount_N, size_N, domain_N),
        unrelated=float((size_P * found.unrelated_PL.any(-1)).sum() / total),
        independent=float(1 - np.prod(1 - rate_L)),
        mean_layers=float(flips_L.sum() / total),
        n=int(size_P.sum()),
        n_groups=int((size_N > 0).sum()),
    )
