"""What a batch becomes in a trace: table columns, and the sums that pages read. NumPy only.

T = tokens, L = MoE layers, K = most experts any token chose, E = routed experts,
R = choices, N = documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from data.routing import NO_EXPERT, NO_TOKEN, PHASES, RoutingBatch

FEW = 9  # times as many experts as a token chooses, from which counting pairs is quicker
PAIRS = 500_000  # of experts, in a table
PRODUCT_TOKENS = 16_384  # whose choices are one matrix: bounds memory


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
    k_TL = (batch.expert_ids_TLK != NO_EXPERT).sum(-1)
    doc_id_N, document_T = np.unique(batch.doc_id_T, return_inverse=True)
    shape = (len(doc_id_N), k_TL.shape[1], batch.expert_ids_TLK.shape[2] + 1)
    cell_TL = (document_T[:, None] * shape[1] + np.arange(shape[1])) * shape[2] + k_TL
    cell, tokens = np.unique(cell_TL, return_counts=True)
    document, layer_id, k = np.unravel_index(cell, shape)
    return pa.table(
        {
            "doc_id": doc_id_N[document],
            "layer_id": layer_id.astype(np.uint16),
            "k": k.astype(np.uint16),
            "tokens": tokens.astype(np.uint32),
        }
    )


def repeat(values_T: np.ndarray, times: int) -> np.ndarray:
    """Each value `times` times in a row."""
    return np.broadcast_to(values_T[:, None], (len(values_T), times)).reshape(-1)


def document_load_table(batch: RoutingBatch, *, num_experts: int) -> pa.Table:
    """Choices and weight of each (document, layer, expert, phase) that occurs."""
    doc_id_N, document_T = np.unique(batch.doc_id_T, return_inverse=True)
    segment_T = document_T * len(PHASES) + batch.phase_T
    layers = [
        layer_load(
            segment_T,
            batch.expert_ids_TLK[:, layer],
            batch.weights_TLK[:, layer],
            num_experts=num_experts,
        )
        for layer in range(batch.expert_ids_TLK.shape[1])
    ]
    segment, expert_id, tokens, weight_sum = (
        np.concatenate(columns) for columns in zip(*layers, strict=True)
    )
    layer_id = np.repeat(np.arange(len(layers), dtype=np.uint16), [len(x[0]) for x in layers])
    order = np.argsort(segment, kind="stable")  # documents first, then layers
    return pa.table(
        {
            "doc_id": doc_id_N[segment[order] // len(PHASES)],
            "layer_id": layer_id[order],
            "expert_id": expert_id[order].astype(np.uint16),
            "phase": (segment[order] % len(PHASES)).astype(np.uint8),
            "tokens": tokens[order].astype(np.uint32),
            "weight_sum": weight_sum[order],
        }
    )


def layer_load(
    segment_T: np.ndarray, expert_ids_TK: np.ndarray, weights_TK: np.ndarray, *, num_experts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(segment, expert_id, tokens, weight_sum) of the pairs that occur in one layer.

    A segment is the part of a document that is of one phase.
    """
    cell = (segment_T[:, None] * num_experts + expert_ids_TK).reshape(-1)
    weight = weights_TK.reshape(-1)
    chosen = expert_ids_TK.reshape(-1) != NO_EXPERT
    if not chosen.all():
        cell, weight = cell[chosen], weight[chosen]
    tokens = np.bincount(cell)
    occurs = np.flatnonzero(tokens)
    weight_sum = np.bincount(cell, weights=weight)[occurs]
    return occurs // num_experts, occurs % num_experts, tokens[occurs], weight_sum


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

    def add(self, expert_ids_TLK: np.ndarray) -> None:
        """ValueError: a token chose an expert twice.

        By products of 0 and 1, or pair by pair where a token chooses few of many. On one thread:
        several that wait for each other take many times as long where cores are shared."""
        few = self.num_experts > FEW * expert_ids_TLK.shape[2]
        add = self._add_pairs if few else self._add_products
        with threadpool_limits(limits=1, user_api="blas"):
            for begin in range(0, len(expert_ids_TLK), PRODUCT_TOKENS):
                add(expert_ids_TLK[begin : begin + PRODUCT_TOKENS])

    @property
    def num_experts(self) -> int:
        return self.coactivation_LEE.shape[-1]

    def _add_products(self, expert_ids_TLK: np.ndarray) -> None:
        before_TE: np.ndarray | None = None
        for layer in range(expert_ids_TLK.shape[1]):
            chosen_TE = self._choices(expert_ids_TLK[:, layer])
            twice = int(chosen_TE.sum()) < (expert_ids_TLK[:, layer] != NO_EXPERT).sum()
            require_once(layer, twice)
            self.coactivation_LEE[layer] += np.triu(product(chosen_TE, chosen_TE), 1)
            if before_TE is not None:
                self.transition_LEE[layer - 1] += product(before_TE, chosen_TE)
            before_TE = chosen_TE

    def _choices(self, expert_ids_TK: np.ndarray) -> np.ndarray:
        chosen_TE = np.zeros((len(expert_ids_TK), self.num_experts + 1), np.float32)
        np.put_along_axis(chosen_TE, expert_ids_TK.astype(np.int64), 1, axis=1)
        return chosen_TE[:, : self.num_experts]  # NO_EXPERT is the last column

    def _add_pairs(self, expert_ids_TLK: np.ndarray) -> None:
        last = self.num_experts  # stands for NO_EXPERT
        one, other = np.triu_indices(expert_ids_TLK.shape[2], 1)
        before_TK: np.ndarray | None = None
        for layer in range(expert_ids_TLK.shape[1]):
            ids_TK = expert_ids_TLK[:, layer].astype(np.int32)
            ids_TK[ids_TK == NO_EXPERT] = last
            ids_TK.sort(-1)
            together_EE = self._counted(ids_TK[:, one], ids_TK[:, other])
            require_once(layer, together_EE.diagonal().any())
            self.coactivation_LEE[layer] += together_EE
            if before_TK is not None:
                pairs_EE = self._counted(before_TK[:, :, None], ids_TK[:, None, :])
                self.transition_LEE[layer - 1] += pairs_EE
            before_TK = ids_TK

    def _counted(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """How often each two occur, as [E, E]; `second` follows `first` by broadcasting."""
        side = self.num_experts + 1
        counts = np.bincount((first * side + second).ravel(), minlength=side * side)
        return counts.reshape(side, side)[:-1, :-1]

    def coactivation_tables(self) -> Iterator[pa.Table]:
        """In parts: layers of many experts have millions of pairs."""
        return pair_tables(self.coactivation_LEE, ("expert_a", "expert_b"))

    def transition_tables(self) -> Iterator[pa.Table]:
        return pair_tables(self.transition_LEE, ("expert_id", "next_expert_id"))


def require_once(layer: int, twice: object) -> None:
    if twice:
        raise ValueError(f"a token chooses an expert twice in layer {layer}; no gate does")


def product(before_TE: np.ndarray, chosen_TE: np.ndarray) -> np.ndarray:
    """Tokens of every two experts [E, E]; float32 counts exactly to 2^24."""
    return (before_TE.T @ chosen_TE).astype(np.int64)


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
