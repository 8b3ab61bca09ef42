"""How good a model is, beside chance: rows of estimate, low, high, chance, n, verdict.

N = documents, questions or problems, C = choices.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.groups import summed
from analysis.ratios import Interval, ratio_interval
from data.labels import ALL, TOO_LITTLE
from data.routing import UNLABELLED

UNIFORM_BYTES = 8.0  # bits: every byte equally likely
AT_CHANCE = "at chance"
UNKNOWN = "chance unknown"


def bits_per_byte(
    nats_N: np.ndarray,
    bytes_N: np.ndarray,
    domain_N: Sequence[str],
    *,
    unit_N: np.ndarray | None = None,
) -> pd.DataFrame:
    """A row a domain, and one over all; the groups of `unit_N` (of analysis.groups.units; each
    document, if None) are a sample within their domain."""
    unit_N = np.arange(len(nats_N)) if unit_N is None else unit_N
    domain_id_N = np.unique(domain_N, return_inverse=True)[1]
    rows = []
    for name, of_N in _groups(domain_N):
        first = np.unique(unit_N[of_N], return_index=True)[1]
        interval = ratio_interval(
            summed(nats_N[of_N] / np.log(2), unit_N[of_N]),
            summed(bytes_N[of_N], unit_N[of_N]),
            domain_id_N[of_N][first],
        )
        judged = verdict(
            interval, chance=UNIFORM_BYTES, words=("better than chance", "worse than chance")
        )
        row = _row(name, "bits per byte", interval, UNIFORM_BYTES, of_N, judged)
        rows.append(row | {"n_groups": len(first)})
    return _table(rows)


def accuracy(
    nats_NC: Sequence[np.ndarray],
    bytes_NC: Sequence[np.ndarray],
    answers_N: Sequence[Sequence[int]],
    domain_N: Sequence[str],
) -> pd.DataFrame:
    """acc: the likeliest choice is right; acc_norm: the likeliest by its UTF-8 bytes is."""
    right = [
        (np.argmax(nats_C) in answers, np.argmax(nats_C / bytes_C) in answers)
        for nats_C, bytes_C, answers in zip(nats_NC, bytes_NC, answers_N, strict=True)
    ]
    chance_N = np.array(
        [len(answers) / len(nats_C) for nats_C, answers in zip(nats_NC, answers_N, strict=True)]
    )
    right_N2 = np.array(right, dtype=float)
    return pd.concat(
        [
            pass_rate(right_N2[:, 0], domain_N, metric="acc", chance_N=chance_N),
            pass_rate(right_N2[:, 1], domain_N, metric="acc_norm", chance_N=chance_N),
        ],
        ignore_index=True,
    )


def pass_rate(
    passed_N: np.ndarray,
    domain_N: Sequence[str],
    *,
    metric: str = "pass@1",
    chance_N: np.ndarray | None = None,
) -> pd.DataFrame:
    """A row a domain and one over all; passed is 0 to 1, the share of a problem's samples."""
    chances_N = np.zeros(len(passed_N)) if chance_N is None else chance_N
    rows = []
    for name, of_N in _groups(domain_N):
        estimate, chance = float(passed_N[of_N].mean()), float(chances_N[of_N].mean())
        low, high = wilson_interval(passed_N[of_N])
        interval = Interval(estimate=estimate, low=low, high=high)
        rows.append(_row(name, metric, interval, chance, of_N, verdict(interval, chance=chance)))
    return _table(rows)


def wilson_interval(passed_N: np.ndarray) -> tuple[float, float]:
    """95 % (Wilson 1927); holds a rate exactly when the score test does not reject it.

    Values between 0 and 1 spread less than 0 and 1 do: for them it is wider than it need be.
    """
    count, passed = len(passed_N), float(passed_N.sum())
    share, square = passed / count, float(special.ndtri((1 + CONFIDENCE) / 2)) ** 2
    center = (passed + square / 2) / (count + square)
    half = np.sqrt(square * (count * share * (1 - share) + square / 4)) / (count + square)
    low = 0.0 if passed == 0 else float(center - half)
    return low, 1.0 if passed == count else float(center + half)


def verdict(
    interval: Interval,
    *,
    chance: float,
    words: tuple[str, str] = ("below chance", "above chance"),
) -> str:
    """At chance where the interval holds chance; `words` are for estimates below and above it."""
    if np.isnan(chance):
        return UNKNOWN
    if np.isnan(interval["low"]):
        return TOO_LITTLE
    if interval["low"] <= chance <= interval["high"]:
        return AT_CHANCE
    return words[int(interval["estimate"] > chance)]


def estimate_row(metric: str, estimate: float, error: float, *, n: int) -> pd.DataFrame:
    """A figure of another tool with its standard error, NaN if it gives none; chance unknown."""
    half = float(special.ndtri((1 + CONFIDENCE) / 2)) * error
    interval = Interval(estimate=float(estimate), low=estimate - half, high=estimate + half)
    judged = verdict(interval, chance=np.nan)
    return _table([_row(ALL, metric, interval, np.nan, np.ones(n, bool), judged)])


def _groups(domain_N: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """The documents of each domain, in the order met, and all where there is not just one."""
    names = list(dict.fromkeys(domain_N))
    if names == [UNLABELLED]:
        names = []
    groups = [(name, np.array([domain == name for domain in domain_N])) for name in names]
    return groups if len(names) == 1 else [*groups, (ALL, np.ones(len(domain_N), bool))]


def _row(
    domain: str,
    metric: str,
    interval: Interval,
    chance: float,
    of_N: np.ndarray,
    judged: str,
) -> dict[str, object]:
    number = int(of_N.sum())
    counts = {"chance": chance, "n": number, "n_groups": number, "verdict": judged}
    return {"domain": domain, "metric": metric, **interval, **counts}


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    numbers = ("estimate", "low", "high", "chance")
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))
