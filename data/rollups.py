"""What a batch becomes in a trace: table columns, and the sums that pages read.

T = tokens, L = MoE layers, K = most experts any token chose, E = routed experts,
R = rows, N = documents, S = parts of a document that are of one phase.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.routing import NO_EXPERT, NO_TOKEN, PHASES, RoutingBatch
from data.tally import NO_LAYER, add_pairs, require_known, segment_loads

PAIRS = 500_000  # of experts, in a table


def token_table(batch: RoutingBatch) -> pa.Table:
    return pa.table(
        {
            "doc_id": batch.doc_id_T,
            "position": batch.position_T,
            "token_id": pa.array(batch.token_id_T, mask=batch.token_id_T == NO_TOKEN),
            "text": pa.array(batch.token_text_T, pa.string()),
            "phase": batch.phase_T,
            "loss": pa.array(batch.loss_T, from_pandas=True),  # NaN becomes NULL
            "special": pa.array(batch.special_T or [None] * len(batch.doc_id_T), pa.string()),
        }
    )


def decision_table(batch: RoutingBatch) -> pa.Table:
    """A row a token and layer; where all chose as many, the lists are the arrays of the batch."""
    tokens, layers, top_k = batch.expert_ids_TLK.shape
    decisions = tokens * layers
    ids_RK = batch.expert_ids_TLK.reshape(decisions, top_k)
    weights_RK = batch.weights_TLK.reshape(decisions, top_k)
    ran_RK = ids_RK != NO_EXPERT
    length_R = np.full(decisions, top_k, np.int32)
    ids, weights = ids_RK.reshape(-1), weights_RK.reshape(-1)
    none = None
    if not ran_RK.all():
        length_R = (ran_RK * np.arange(1, top_k + 1, dtype=np.int32)).max(-1)
        kept_RK = np.arange(top_k) < length_R[:, None]
        ids, weights, none = ids_RK[kept_RK], weights_RK[kept_RK], ~ran_RK[kept_RK]
    ends = np.concatenate([np.zeros(1, np.int32), length_R.cumsum(dtype=np.int32)])
    ids_only = bool(len(weights) and np.isnan(weights).all())
    return pa.table(
        {
            "doc_id": repeat(batch.doc_id_T, layers),
            "position": repeat(batch.position_T, layers),
            "layer_id": np.tile(np.arange(layers, dtype=np.uint16), tokens),
            "expert_ids": pa.ListArray.from_arrays(ends, pa.array(ids.view(np.uint16), mask=none)),
            "weights": pa.nulls(decisions, pa.list_(pa.float32()))
            if ids_only
            else pa.ListArray.from_arrays(ends, weights),
            "entropy": known_or_null(batch.entropy_TL, decisions),
            "margin": known_or_null(batch.margin_TL, decisions),
        }
    )


def known_or_null(values_TL: np.ndarray | None, rows: int) -> pa.Array:
    """NaN becomes NULL."""
    if values_TL is None:
        return pa.nulls(rows, pa.float32())
    return pa.array(values_TL.reshape(-1), from_pandas=True)


def document_size_table(batch: RoutingBatch) -> pa.Table:
    """Tokens of each document, and the loss of those of which it is known."""
    doc_id_N, document_T = np.unique(batch.doc_id_T, return_inverse=True)
    known_T = ~np.isnan(batch.loss_T)
    loss_T = np.where(known_T, batch.loss_T, 0)
    return pa.table(
        {
            "doc_id": doc_id_N,
            "tokens": np.bincount(document_T).astype(np.uint32),
            "losses": np.bincount(document_T, known_T).astype(np.uint32),
            "loss": np.bincount(document_T, loss_T),
        }
    )


def document_gate_table(batch: RoutingBatch) -> pa.Table:
    """Entropy and margin of each document and layer, added up where they are known."""
    first_N = np.flatnonzero(np.diff(batch.doc_id_T.astype(np.int64), prepend=-1))
    doc_id_N = batch.doc_id_T[first_N]
    tokens, layers, _ = batch.expert_ids_TLK.shape
    columns: dict[str, np.ndarray] = {
        "doc_id": np.repeat(doc_id_N, layers),
        "layer_id": np.tile(np.arange(layers, dtype=np.uint16), len(doc_id_N)),
    }
    for name, count, values_TL in (
        ("entropy", "entropies", batch.entropy_TL),
        ("margin", "margins", batch.margin_TL),
    ):
        known_TL = np.zeros((tokens, layers), bool) if values_TL is None else ~np.isnan(values_TL)
        of_TL = 0.0 if values_TL is None else np.where(known_TL, values_TL, 0)
        columns[count] = np.add.reduceat(known_TL, first_N, dtype=np.uint32).reshape(-1)
        summed_TL = np.broadcast_to(np.asarray(of_TL, np.float64), known_TL.shape)
        columns[name] = np.add.reduceat(summed_TL, first_N).reshape(-1)
    return pa.table(columns)


def dropped_table(batch: RoutingBatch) -> pa.Table:
    """A row a choice that found its expert full."""
    assert batch.dropped_ids_TLK is not None
    token, layer_id, place = np.nonzero(batch.dropped_ids_TLK != NO_EXPERT)
    return pa.table(
        {
            "doc_id": batch.doc_id_T[token],
            "position": batch.position_T[token],
            "layer_id": layer_id.astype(np.uint16),
            "expert_id": batch.dropped_ids_TLK[token, layer_id, place].astype(np.uint16),
        }
    )


def document_dropped_table(batch: RoutingBatch) -> pa.Table:
    """Refused choices of each (document, layer, expert) that occurs."""
    keys = ["doc_id", "layer_id", "expert_id"]
    counted = (
        dropped_table(batch)
        .group_by(keys)
        .aggregate([("position", "count")])
        .sort_by([(key, "ascending") for key in keys])
    )
    return counted.rename_columns([*keys, "tokens"])


def document_k_table(batch: RoutingBatch) -> pa.Table:
    """Tokens of each (document, layer, number of executed choices) that occurs; 0 is a number."""
    ran_TLK = batch.expert_ids_TLK != NO_EXPERT
    tokens, layers, top_k = ran_TLK.shape
    k_TL = np.full((tokens, layers), top_k) if ran_TLK.all() else ran_TLK.sum(-1)
    doc_id_N, document_T = np.unique(batch.doc_id_T, return_inverse=True)
    k_TL1 = k_TL[..., None].astype(np.int16)
    place_R3, tokens_R, _ = segment_loads(
        document_T, k_TL1, np.zeros(k_TL1.shape, np.float32), num_experts=top_k + 1
    )
    return pa.table(
        {
            "doc_id": doc_id_N[place_R3[:, 0]],
            "layer_id": place_R3[:, 1].astype(np.uint16),
            "k": place_R3[:, 2].astype(np.uint16),
            "tokens": tokens_R,
        }
    )


def repeat(values_T: np.ndarray, times: int) -> np.ndarray:
    """Each value `times` times in a row."""
    return np.broadcast_to(values_T[:, None], (len(values_T), times)).reshape(-1)


def document_load_table(batch: RoutingBatch, *, num_experts: int) -> pa.Table:
    """Choices and weight of each (document, layer, expert, phase) that occurs."""
    doc_id_N, document_T = np.unique(batch.doc_id_T, return_inverse=True)
    phase_S, segment_T = np.unique(document_T * len(PHASES) + batch.phase_T, return_inverse=True)
    place_R3, tokens_R, weight_R = segment_loads(
        segment_T, batch.expert_ids_TLK, batch.weights_TLK, num_experts=num_experts
    )
    phase_R = phase_S[place_R3[:, 0]]
    return pa.table(
        {
            "doc_id": doc_id_N[phase_R // len(PHASES)],
            "layer_id": place_R3[:, 1].astype(np.uint16),
            "expert_id": place_R3[:, 2].astype(np.uint16),
            "phase": (phase_R % len(PHASES)).astype(np.uint8),
            "tokens": tokens_R,
            "weight_sum": weight_R,
        }
    )


@dataclass(slots=True)
class PairCounts:
    """Which experts are chosen together in a layer, and which follow which in the next."""

    coactivation_LEE: np.ndarray  # int64, [layer, a, b] with a < b
    transition_LEE: np.ndarray  # int64, [layer, expert, expert of layer + 1], L - 1 layers

    @classmethod
    def empty(cls, *, num_layers: int, num_experts: int) -> "PairCounts":
        shape = (num_experts, num_experts)
        return cls(
            np.zeros((num_layers, *shape), np.int64), np.zeros((num_layers - 1, *shape), np.int64)
        )

    def add(self, expert_ids_TLK: np.ndarray, *, layers: range | None = None) -> None:
        """Of all layers or some: threads may each add those of other layers. ValueError: a token
        chose an expert twice, or one that does not exist."""
        layers = layers or range(len(self.coactivation_LEE))
        read = slice(max(0, layers.start - 1), layers.stop)  # the layer before them is followed
        require_known(expert_ids_TLK[:, read], self.coactivation_LEE.shape[1])
        twice = add_pairs(
            expert_ids_TLK, self.coactivation_LEE, self.transition_LEE, layers.start, layers.stop
        )
        if twice != NO_LAYER:
            raise ValueError(f"a token chooses an expert twice in layer {twice}; no gate does")

    def coactivation_tables(self) -> Iterator[pa.Table]:
        """In parts: layers of many experts have millions of pairs."""
        return pair_tables(self.coactivation_LEE, ("expert_a", "expert_b"))

    def transition_tables(self) -> Iterator[pa.Table]:
        return pair_tables(self.transition_LEE, ("expert_id", "next_expert_id"))


def pair_tables(counts_LEE: np.ndarray, names: tuple[str, str]) -> Iterator[pa.Table]:
    at_once = max(1, PAIRS // counts_LEE[:1].size) if counts_LEE.size else 1
    for first in range(0, len(counts_LEE), at_once):
        part_LEE = counts_LEE[first : first + at_once]
        layer_id, row, column = np.nonzero(part_LEE)
        yield pa.table(
            {
                "layer_id": (first + layer_id).astype(np.uint16),
                names[0]: row.astype(np.uint16),
                names[1]: column.astype(np.uint16),
                "tokens": part_LEE[layer_id, row, column].astype(np.uint64),
            }
        )
