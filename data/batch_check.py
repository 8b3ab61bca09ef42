"""What of a batch would not be opened again, told before it is written. L = MoE layers."""

from collections.abc import Sequence

import numpy as np

from data.routing import NO_EXPERT, LayerDescription, RoutingBatch

ROUNDING = 0.001  # nats; data/checks.sql has the same


def check_layers(batch: RoutingBatch, layers: Sequence[LayerDescription]) -> None:
    """ValueError: ids, numbers of choices or entropies that a layer cannot have."""
    for layer_id in suspicious(batch, layers):
        check_layer(batch, layer_id, layers[layer_id])


def suspicious(batch: RoutingBatch, layers: Sequence[LayerDescription]) -> list[int]:
    """Layers in which something may be wrong, found in all at once."""
    if not batch.expert_ids_TLK.size:
        return []
    low_L, high_L = batch.expert_ids_TLK.min(0).min(-1), batch.expert_ids_TLK.max(0).max(-1)
    num_experts_L = np.array([layer.num_experts for layer in layers])
    allowed = (None, batch.expert_ids_TLK.shape[2])
    doubted_L = (low_L <= NO_EXPERT) | (high_L >= num_experts_L)
    doubted_L |= [layer.top_k not in allowed for layer in layers]
    if batch.entropy_TL is not None:
        least_L, most_L = (by.reduce(batch.entropy_TL) for by in (np.fmin, np.fmax))  # past NaN
        doubted_L |= (least_L < 0) | (most_L > np.log(num_experts_L))
    return np.flatnonzero(doubted_L).tolist()


def check_layer(batch: RoutingBatch, layer_id: int, layer: LayerDescription) -> None:
    """ValueError: what is of this layer would not be opened again."""
    ids_TK = batch.expert_ids_TLK[:, layer_id]
    if ids_TK.size and (ids_TK.min() < NO_EXPERT or ids_TK.max() >= layer.num_experts):
        raise ValueError(
            f"expert ids from {ids_TK.min()} to {ids_TK.max()} in layer {layer_id}, {layer.name}, "
            f"of {layer.num_experts} experts"
        )
    k_T = (ids_TK != NO_EXPERT).sum(-1)
    if layer.top_k is not None and (k_T != layer.top_k).any():
        raise ValueError(
            f"{k_T.min()} to {k_T.max()} choices a token in layer {layer_id}, {layer.name}, whose "
            f"top_k is {layer.top_k}; it is None where the number varies"
        )
    if batch.entropy_TL is None:
        return
    known = batch.entropy_TL[:, layer_id][np.isfinite(batch.entropy_TL[:, layer_id])]
    most = np.log(layer.num_experts)
    if known.size and (known.min() < -ROUNDING or known.max() > most + ROUNDING):
        raise ValueError(
            f"entropies from {known.min()} to {known.max()} in layer {layer_id}, {layer.name}; in "
            f"nats they are within 0 and ln {layer.num_experts}"
        )
