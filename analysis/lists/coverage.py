"""Which experts a text calibrates: how many tokens chose each, and how much more text it would take
until every one has enough.

N = groups, L = MoE layers, E = routed experts.
"""

import numpy as np
import pandas as pd

from analysis.groups import NOT_ENOUGH
from analysis.layers import in_threads, of_layers
from analysis.ratios import share_interval_of_each

NEEDED = 1_000  # tokens: a mean square of so many independent ones is known to sqrt(2 / n), 4.5 %
BUSY = 2.0  # times the balanced load
GROUPS = ("rare", "ordinary", "busy")
RARE = GROUPS[0]
NEVER = "never chosen: no amount of such text can be said to be enough"


def usage_groups(tokens_LE: np.ndarray, *, needed: float, experts_L: np.ndarray) -> np.ndarray:
    """A place in GROUPS of each expert [L, E], -1 where there is none: rare with fewer tokens than
    needed, else busy from BUSY times the mean of the layer."""
    group_LE = np.full(tokens_LE.shape, -1)
    for layer_id, count in enumerate(experts_L.tolist()):
        tokens_E = tokens_LE[layer_id, :count]
        busy_E = tokens_E >= BUSY * max(tokens_E.mean(), 1)
        group_LE[layer_id, :count] = np.where(tokens_E < needed, 0, np.where(busy_E, 2, 1))
    return group_LE


def coverage_table(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    experts_L: np.ndarray,
    needed: int = NEEDED,
) -> pd.DataFrame:
    """A row a layer and expert: layer_id, expert_id, group (of GROUPS), tokens, n_groups (that
    chose it), share, low, high (of the layer's choices, 95 %), times, times_low, times_high (as
    much text of the same mix until it has `needed`; empty where it has), sure (the interval lies on
    one side of `needed`; empty: there is none), note."""
    tokens_LE = tokens_NLE.sum(0, dtype=np.int64)
    group_LE = usage_groups(tokens_LE, needed=needed, experts_L=experts_L)
    layers = of_layers(tokens_NLE, experts_L)

    def of_layer(layer_id: int) -> pd.DataFrame:
        tokens_NE = layers[layer_id].astype(np.float64)
        frame = _layer_rows(tokens_NE, domain_id_N, needed=needed)
        group_E = group_LE[layer_id, : tokens_NE.shape[1]]
        frame.insert(0, "group", np.array(GROUPS)[group_E])
        frame.insert(0, "expert_id", np.arange(len(frame)))
        frame.insert(0, "layer_id", layer_id)
        return frame

    return pd.concat(in_threads(of_layer, len(layers)), ignore_index=True)


def _layer_rows(tokens_NE: np.ndarray, domain_id_N: np.ndarray, *, needed: int) -> pd.DataFrame:
    size_N, tokens_E = tokens_NE.sum(-1), tokens_NE.sum(0)
    share = share_interval_of_each(tokens_NE, size_N, domain_id_N)
    low_E, high_E = share["low"], share["high"]
    lacking_E = tokens_E < needed
    expected = {"times": tokens_E, "times_low": high_E * size_N.sum()}
    expected["times_high"] = low_E * size_N.sum()
    columns = {
        name: np.divide(needed, of_E, out=np.full(len(of_E), np.nan), where=lacking_E & (of_E > 0))
        for name, of_E in expected.items()
    }
    sure_E = np.where(lacking_E, high_E * size_N.sum() < needed, low_E * size_N.sum() >= needed)
    note_E = np.select([tokens_E == 0, np.isnan(low_E)], [NEVER, NOT_ENOUGH], "")
    return pd.DataFrame(
        {
            "tokens": tokens_E.astype(np.int64),
            "n_groups": (tokens_NE > 0).sum(0),
            **{name: pd.array(of_E, dtype="Float64") for name, of_E in share.items()},
            **{name: pd.array(of_E, dtype="Float64") for name, of_E in columns.items()},
            "sure": pd.arrays.BooleanArray(sure_E, np.isnan(low_E)),
            "note": note_E,
        }
    ).rename(columns={"estimate": "share"})
