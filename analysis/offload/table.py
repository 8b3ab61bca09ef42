"""How often a cache of experts hits and how well experts are predicted, with intervals over groups.

N = groups of texts, L = MoE layers, P = policies.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis.domain_counts import ALL_LAYERS
from analysis.groups import summed
from analysis.layers import in_threads
from analysis.offload.caches import Outcome, Setting, Subject, divided, simulate
from analysis.offload.predictions import Predictions, fit, most_chosen, right_predictions
from analysis.offload.requests import NO_TOKENS, Requests, read_requests, two_halves
from analysis.queries import TraceInfo
from analysis.ratios import (
    ratio_interval,
    ratio_interval_of_each,
    share_interval,
    share_interval_of_each,
)


def subject_of(con: DuckDBPyConnection, info: TraceInfo, *, accesses: int) -> Subject:
    """Of so many accesses in each half of the groups. ValueError: nothing was asked for."""
    if info.counts_only:
        raise ValueError(NO_TOKENS)
    others, judging = two_halves(con, info, accesses=accesses)
    requests = read_requests(con, info, judging)
    if not len(requests.expert_A):
        raise ValueError("no token of this trace chose an expert; capture some text first")
    return Subject.of(requests, fit(read_requests(con, info, others)) if len(others) else None)


def hit_rate_table(
    subject: Subject,
    settings: Sequence[Setting],
    *,
    by_layer: bool = True,
    told: Callable[[int], None] = lambda stage: None,
) -> pd.DataFrame:
    """policy, slots, per_layer, cold, layer_id (ALL_LAYERS: of all together); hit rate: estimate,
    low, high; null: the share of experts that fit; gain, gain_low, gain_high over LRU; misses and
    ahead (experts loaded a token because they were missing, or predicted); n_groups, n_tokens."""
    tables, domain_id_N = [], _domains(subject)
    layers = range(len(subject.requests.experts_L)) if by_layer else ()
    for stage, setting in enumerate(settings):
        told(stage)
        outcomes = _outcomes(subject, setting)
        parts = [
            _of_layer(subject, outcomes, setting, layer_id, domain_id_N)
            for layer_id in (ALL_LAYERS, *layers)
        ]
        tables.append(pd.concat(parts).sort_index(kind="stable"))  # by policy, then by layer
    return pd.concat(tables, ignore_index=True)


def _outcomes(subject: Subject, setting: Setting) -> dict[str, Outcome]:
    policies = subject.policies
    outcomes = in_threads(lambda place: simulate(subject, policies[place], setting), len(policies))
    return dict(zip(policies, outcomes, strict=True))


def _of_layer(
    subject: Subject,
    outcomes: Mapping[str, Outcome],
    setting: Setting,
    layer_id: int,
    domain_id_N: np.ndarray,
) -> pd.DataFrame:
    """A row a policy."""

    def counted(count_NL: np.ndarray) -> np.ndarray:
        every = layer_id == ALL_LAYERS
        return np.asarray(count_NL.sum(1, dtype=np.int64) if every else count_NL[:, layer_id])

    lru = outcomes["lru"]  # all are asked for the same
    asked_N, tokens = counted(lru.asked_NL), max(lru.tokens, 1)
    hits_NP = np.stack([counted(outcome.hits_NL) for outcome in outcomes.values()], 1)
    ahead_NP = np.stack([counted(outcome.ahead_NL) for outcome in outcomes.values()], 1)
    gained_NP = hits_NP - counted(lru.hits_NL)[:, None]
    gain = ratio_interval_of_each(gained_NP, asked_N, domain_id_N)
    columns = {
        "policy": list(outcomes),
        "slots": setting.slots,
        "per_layer": setting.per_layer,
        "cold": setting.cold,
        "layer_id": layer_id,
        **share_interval_of_each(hits_NP, asked_N, domain_id_N),
        "null": _share_that_fits(subject.requests.experts_L, setting, layer_id),
        "gain": gain["estimate"],
        "gain_low": gain["low"],
        "gain_high": gain["high"],
        "misses": (asked_N[:, None] - hits_NP).sum(0) / tokens,
        "ahead": ahead_NP.sum(0) / tokens,
        "n_groups": int((asked_N > 0).sum()),
        "n_tokens": lru.tokens,
    }
    return pd.DataFrame(columns)


def _share_that_fits(experts_L: np.ndarray, setting: Setting, layer_id: int) -> float:
    """Of the experts: the hit rate of a set drawn at random that stays, whatever is asked for."""
    if layer_id == ALL_LAYERS or not setting.per_layer:
        return float(setting.slots / experts_L.sum())
    return float(divided(setting.slots, experts_L)[layer_id] / experts_L[layer_id])


def prediction_table(subject: Subject) -> pd.DataFrame:
    """predictor, measure (precision or recall), estimate, low, high; null: of as many experts drawn
    at random; most_chosen: of as many of the layer's most chosen, for the same requests; gain,
    gain_low, gain_high over these (NaN if nothing was fitted); n_groups, n_tokens."""
    requests, domain_id_N = subject.requests, _domains(subject)
    rows = []
    for policy, predicted in subject.predicted.items():
        predicted_N, right_N, asked_N = _right(requests, predicted)
        usual_N = np.full(len(right_N), np.nan)
        if subject.fitted is not None:
            usual_N = _right(requests, most_chosen(requests, subject.fitted, predicted))[1]
        for measure, size_N in (("precision", predicted_N), ("recall", asked_N)):
            gain = ratio_interval(right_N - usual_N, size_N, domain_id_N)
            rows.append(
                {"predictor": policy.removeprefix("prefetch_"), "measure": measure}
                | share_interval(right_N, size_N, domain_id_N)
                | {"null": _by_chance(requests, predicted, measure)}
                | {"most_chosen": usual_N.sum() / size_N.sum() if size_N.any() else np.nan}
                | {"gain": gain["estimate"], "gain_low": gain["low"], "gain_high": gain["high"]}
                | {"n_groups": int((size_N > 0).sum()), "n_tokens": requests.num_tokens}
            )
    return pd.DataFrame(rows)


def _right(requests: Requests, predicted: Predictions) -> list[np.ndarray]:
    """right_predictions() of groups."""
    return [summed(of_D, requests.unit_D) for of_D in right_predictions(requests, predicted)]


def _by_chance(requests: Requests, predicted: Predictions, measure: str) -> float:
    """Expected of experts drawn from the layer, as many as were predicted."""
    number_R = predicted.numbers()
    asked_R = np.where(number_R > 0, np.diff(requests.start_R1), 0)
    right = (number_R * asked_R / requests.experts_L[requests.layer_R]).sum()
    size = number_R.sum() if measure == "precision" else asked_R.sum()
    return float(right / size) if size else np.nan


def _domains(subject: Subject) -> np.ndarray:
    """domain_id_N of the groups, in the order of summed()."""
    requests = subject.requests
    first = np.unique(requests.unit_D, return_index=True)[1]
    return np.asarray(requests.domain_id_D[first])


def of_all_layers(table: pd.DataFrame, *, per_layer: bool, cold: bool) -> pd.DataFrame:
    """The rows of a hit_rate_table of one kind of cache, of all layers together."""
    chosen = (table.per_layer == per_layer) & (table.cold == cold) & (table.layer_id == ALL_LAYERS)
    return table[chosen].reset_index(drop=True)


def with_costs(table: pd.DataFrame, *, expert_bytes: int | None, bandwidth: float) -> pd.DataFrame:
    """Added to a hit_rate_table, a token: megabytes (10^6 bytes) loaded; wait_ms, the time of what
    was missing, if the rest is loaded behind the computing; transfer_ms, that of all. bandwidth:
    bytes a second. NaN where the size of an expert is not known."""
    size = np.nan if expert_bytes is None else float(expert_bytes)
    loads = table.misses + table.ahead
    return table.assign(
        megabytes=loads * size / 1e6,
        wait_ms=table.misses * size / bandwidth * 1e3,
        transfer_ms=loads * size / bandwidth * 1e3,
    )
