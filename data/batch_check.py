"""What of a batch would not be opened again, told before it is written. L = MoE layers."""

from collections.abc import Sequence

import numpy as np

from data.counts import CountsBatch
from data.routing import DECODE, NO_EXPERT, NO_TOKEN, PREFILL, LayerDescription, RoutingBatch

MOST_COUNTED = 2**32  # of one expert in one document
ROUNDING = 0.001  # nats; data/checks.sql has the same


def check_layers(batch: RoutingBatch, layers: Sequence[LayerDescription]) -> None:
    """ValueError: ids, numbers of choices or entropies that a layer cannot have."""
    for layer_id in suspicious(batch, layers):
        check_layer(batch, layer_id, layers[layer_id])


def check_tokens(batch: RoutingBatch) -> None:
    """ValueError: two tokens at one place, a phase that is none, or a loss that is infinite."""
    key_T = batch.doc_id_T.astype(np.uint64) << np.uint64(32) | batch.position_T.astype(np.uint64)
    after_T = np.diff(key_T.astype(np.int64))
    if (after_T <= 0).any() and len(np.unique(key_T)) < len(key_T):
        values, counts = np.unique(key_T, return_counts=True)
        place = int(values[np.argmax(counts > 1)])
        raise ValueError(
            f"two tokens of document {place >> 32} are at position {place & NO_TOKEN}; positions "
            "of a document differ"
        )
    if batch.phase_T.size and batch.phase_T.max() > DECODE:
        raise ValueError(f"phase {batch.phase_T.max()}; give {PREFILL} or {DECODE}")
    if np.isinf(batch.loss_T).any() and not batch.findings:
        raise ValueError("a loss is infinite; give NaN where it is unknown")


def check_counts(batch: CountsBatch, layers: Sequence[LayerDescription]) -> None:
    """ValueError: counts that are none, or of experts that a layer does not have."""
    counts_NLE = batch.tokens_NLE
    if counts_NLE.shape[1] != len(layers):
        raise ValueError(f"counts of {counts_NLE.shape[1]} layers, the trace has {len(layers)}")
    if counts_NLE.size and (counts_NLE.min() < 0 or counts_NLE.max() >= MOST_COUNTED):
        raise ValueError(
            f"counts from {counts_NLE.min()} to {counts_NLE.max()}; an expert is chosen 0 to "
            f"{MOST_COUNTED - 1:,} times in a document"
        )
    for layer_id, layer in enumerate(layers):
        if counts_NLE[:, layer_id, layer.num_experts :].any():
            raise ValueError(
                f"counts of {counts_NLE.shape[2]} experts in layer {layer_id}, {layer.name}, of "
                f"{layer.num_experts}"
            )
    weights_NLE = batch.weight_sum_NLE
    if weights_NLE is not None and not np.isfinite(weights_NLE[counts_NLE > 0]).all():
        raise ValueError("sums of weights that are NaN or infinite; leave them out where unknown")


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
    if layer.top_k is not None and not np.isin(k_T, (0, layer.top_k)).all():
        raise ValueError(
            f"{k_T.min()} to {k_T.max()} choices a token in layer {layer_id}, {layer.name}, whose "
            f"top_k is {layer.top_k}, and 0 where none is known; it is None where the number varies"
        )
    if batch.entropy_TL is None:
        return
    entropy_T = batch.entropy_TL[:, layer_id]
    if np.isinf(entropy_T).any() and not batch.findings:
        raise ValueError(
            f"an infinite entropy in layer {layer_id}, {layer.name}; give NaN where it is unknown"
        )
    known = entropy_T[np.isfinite(entropy_T)]
    most = np.log(layer.num_experts)
    if known.size and (known.min() < -ROUNDING or known.max() > most + ROUNDING):
        raise ValueError(
            f"entropies from {known.min()} to {known.max()} in layer {layer_id}, {layer.name}; in "
            f"nats they are within 0 and ln {layer.num_experts}"
        )
