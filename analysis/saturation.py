"""How early in training a router makes its final choices (OLMoE, arXiv 2409.02060).

T = tokens of a fixed sample, L = MoE layers, K = chosen per token.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd


def router_saturation(ids_TLK: np.ndarray, final_TLK: np.ndarray) -> np.ndarray:
    """Share of each layer's final choices made already [L]; order within a token is ignored."""
    if ids_TLK.shape != final_TLK.shape or ids_TLK.shape[0] == 0:
        raise ValueError(
            f"found choices {ids_TLK.shape} and {final_TLK.shape}: saturation compares the same "
            "tokens at two steps"
        )
    kept_TLK = (final_TLK[..., :, None] == ids_TLK[..., None, :]).any(-1)
    return kept_TLK.mean((0, 2))


def saturation_null(num_experts: int, top_k: int) -> float:
    """Expected share when the two steps choose independently and uniformly: k / E."""
    return top_k / num_experts


def saturation_table(snapshots: Mapping[int, np.ndarray]) -> pd.DataFrame:
    """step, layer_id, saturation against the last step, which is 1 by definition."""
    if not snapshots:
        raise ValueError("no snapshots; train with routing snapshots first")
    final_TLK = snapshots[max(snapshots)]
    tables = [
        pd.DataFrame({"step": step, "saturation": router_saturation(ids_TLK, final_TLK)})
        for step, ids_TLK in sorted(snapshots.items())
    ]
    return (
        pd.concat(tables).rename_axis("layer_id").reset_index()[["step", "layer_id", "saturation"]]
    )
