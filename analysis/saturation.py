"""How early in training a router makes its final choices (OLMoE, arXiv 2409.02060).

S = tokens of a fixed sample, L = MoE layers, E = routed experts; a token may choose any number.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd


def router_saturation(chosen_SLE: np.ndarray, final_SLE: np.ndarray) -> np.ndarray:
    """Share of a token's final choices made already, mean over the tokens that have any [L]."""
    if chosen_SLE.shape != final_SLE.shape or len(chosen_SLE) == 0:
        raise ValueError(
            f"found choices {chosen_SLE.shape} and {final_SLE.shape}: saturation compares the same "
            "tokens at two steps"
        )
    final_SL = final_SLE.sum(-1)
    silent = np.flatnonzero(~final_SL.any(0))
    if silent.size:
        raise ValueError(f"no token chose an expert of layer {silent[0]} at the last step")
    share_SL = (chosen_SLE & final_SLE).sum(-1) / np.maximum(final_SL, 1)
    return share_SL.sum(0) / (final_SL > 0).sum(0)


def saturation_null(chosen_SLE: np.ndarray) -> np.ndarray:
    """Expected share [L] when the last step chooses independently and uniformly: mean k / E."""
    return chosen_SLE.sum(-1).mean(0) / chosen_SLE.shape[-1]


def saturation_table(steps: Sequence[int], chosen_SLE: Callable[[int], np.ndarray]) -> pd.DataFrame:
    """step, layer_id, saturation against the last step, which is 1 by definition, and its null."""
    if not steps:
        raise ValueError("no snapshots; train with routing snapshots first")
    final_SLE = chosen_SLE(max(steps))
    tables = [_rows(step, chosen_SLE(step), final_SLE) for step in sorted(steps)]
    return pd.concat(tables, ignore_index=True)


def _rows(step: int, chosen_SLE: np.ndarray, final_SLE: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "step": step,
            "layer_id": np.arange(chosen_SLE.shape[1]),
            "saturation": router_saturation(chosen_SLE, final_SLE),
            "null": saturation_null(chosen_SLE),
        }
    )
