"""What `routescope cache` lays beside a trace."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from analysis.domain_counts import ALL_LAYERS
from analysis.offload.rules import RULES
from data.sidecar_kind import (
    COUNT,
    FLAG,
    LARGEST,
    NUMBER,
    NUMBER_IF_ANY,
    TEXT,
    Column,
    Facts,
    Kind,
    whole,
)

PREDICTORS = ("transitions", "previous_token")
ROW = ["per_layer", "cold", "slots", "policy"]


def _cache_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "policy": TEXT,
        "slots": COUNT,
        "per_layer": FLAG,
        "cold": FLAG,
        "layer_id": whole(least=ALL_LAYERS, below=trace.num_layers),
        **dict.fromkeys(("estimate", "low", "high"), NUMBER_IF_ANY),
        "null": NUMBER,
        **dict.fromkeys(("gain", "gain_low", "gain_high"), NUMBER_IF_ANY),
        **dict.fromkeys(("misses", "ahead"), NUMBER),
        **dict.fromkeys(("n_groups", "n_tokens"), COUNT),
    }


def _prediction_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "predictor": TEXT,
        "measure": TEXT,
        **dict.fromkeys(("estimate", "low", "high", "null", "most_chosen"), NUMBER_IF_ANY),
        **dict.fromkeys(("gain", "gain_low", "gain_high"), NUMBER_IF_ANY),
        **dict.fromkeys(("n_groups", "n_tokens"), COUNT),
    }


def _every_layer(frame: pd.DataFrame, trace: Facts) -> bool:
    """Of every policy and cache all layers together, then each, once; of every cache what others
    are held against."""
    shown = {"lru", "belady", "prefetch_previous_token"}
    caches = [set(rows.policy) for _, rows in frame.groupby(ROW[:-1], sort=False)]
    if not all(shown <= policies <= set(RULES) for policies in caches):
        return False
    layers = [ALL_LAYERS, *range(trace.num_layers)]
    parts = [rows.layer_id.tolist() for _, rows in frame.groupby(ROW, sort=False)]
    return all(part == layers for part in parts)


def _known_predictors(frame: pd.DataFrame, trace: Facts) -> bool:
    known = frame.predictor.isin(PREDICTORS) & frame.measure.isin(("precision", "recall"))
    return bool(known.all() and not frame.duplicated(["predictor", "measure"]).any())


_cache = partial(Kind, command="routescope cache", version=1)

HIT_RATES = _cache(
    name="cache",
    columns=_cache_columns,
    rows=lambda trace: (trace.num_layers + 1, LARGEST),
    parameters=dict.fromkeys(
        ("texts", "shortened", "tokens", "accesses", "fitted", "least_by_layer"), int
    ),
    agrees=_every_layer,
)
PREDICTIONS = _cache(
    name="cache_predictions",
    columns=_prediction_columns,
    rows=lambda trace: (2, 2 * len(PREDICTORS)),
    parameters={},
    agrees=_known_predictors,
)
BY_CACHE = (PREDICTIONS, HIT_RATES)  # in this order
