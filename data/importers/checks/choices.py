"""The checks of batches that hold choices. T = tokens, L = MoE layers, K = most experts any token
chose.
"""

from dataclasses import replace

import numpy as np

from data.importers.checks.decisions import (
    ROUNDING,
    Faults,
    by_weight,
    faults,
    logical_ids,
    stale_rows,
    sums_against,
)
from data.importers.checks.findings import Ledger, finding
from data.importers.source import Options, Source
from data.routing import INT16, NO_EXPERT, Finding, RoutingBatch, take_rows

CONSTANT = 256  # tokens that chose alike, from which a layer is named for it
MOSTLY = 0.99  # of the decisions by which a layer's weights are known


class Choices:
    """The checks of batches that hold choices."""

    def __init__(
        self, source: Source, options: Options, ledger: Ledger, *, kept: list[int], zeros: bool
    ) -> None:
        """`kept`: the layers of the source that are stored. `zeros`: expert 0 alone means that
        nothing was recorded."""
        self.options, self.ledger, self.zeros = options, ledger, zeros
        self.ranked, self.weights_sum = source.ranked, source.weights_sum
        self.layers = tuple(source.layers[layer] for layer in kept)
        self.experts_L = np.array([layer.num_experts for layer in self.layers])
        self.top_k_L = [layer.top_k if source.top_k_known else None for layer in self.layers]
        self.first_LK: np.ndarray | None = None
        self.constant_L = np.ones(len(self.layers), bool)
        self.zeros_L = np.zeros(len(self.layers), int)  # decisions that name expert 0 alone
        self.zeros_first: dict[int, str] = {}  # where, by layer
        self.tokens = 0
        self.sums_L: tuple[np.ndarray, np.ndarray] | None = None
        physical_map_LP = source.physical_map_LP
        self.map_LP = None if physical_map_LP is None else physical_map_LP[kept]

    def constant_layers(self) -> np.ndarray:
        if self.tokens < CONSTANT or self.first_LK is None:
            return np.array([], int)
        some_L = self.experts_L > self.first_LK.shape[1]
        return np.flatnonzero(self.constant_L & some_L)

    def checked(self, batch: RoutingBatch) -> RoutingBatch:
        ids_TLK = batch.expert_ids_TLK
        if not ids_TLK.size:
            return batch
        zero_TL = (ids_TLK == 0).all(-1) & self.zeros
        if self.map_LP is not None:
            self._note(batch, "physical-ids", (ids_TLK >= 0).sum(-1))
            ids_TLK = logical_ids(ids_TLK, self.map_LP)
            ids_TLK = np.where(zero_TL[..., None], np.int16(0), ids_TLK)
        found = faults(ids_TLK, self.experts_L, top_k_L=self.top_k_L, zero_TL=zero_TL)
        self._name(batch, found)
        wrong_TL = found.wrong()
        if wrong_TL.any():
            ids_TLK = np.where(wrong_TL[..., None], np.int16(NO_EXPERT), ids_TLK)
        batch = replace(batch, expert_ids_TLK=ids_TLK)
        if not np.isnan(batch.weights_TLK).all():
            batch = self._weighed(batch)
        some_T = (batch.expert_ids_TLK != NO_EXPERT).any((1, 2))
        if not some_T.all():
            batch = replace(take_rows(batch, np.flatnonzero(some_T)), documents=batch.documents)
        self._compare(batch)
        return batch

    def _name(self, batch: RoutingBatch, found: Faults) -> None:
        self._note(batch, "missing-rows", found.missing_T)
        self._note(batch, "zero-rows", found.zero_T)
        self._count_zeros(batch, found.zero_TL)
        self._note(batch, "unknown-experts", found.unknown_TL)
        self._note(batch, "repeated-experts", found.repeated_TL)
        self._note(batch, "incomplete-decisions", found.incomplete_TL)

    def _count_zeros(self, batch: RoutingBatch, zero_TL: np.ndarray) -> None:
        """By layer: of one without other choices they are no finding of their own."""
        self.zeros_L += zero_TL.sum(0)
        for layer in np.flatnonzero(zero_TL.any(0)).tolist():
            if layer not in self.zeros_first:
                first = np.array([np.argmax(zero_TL[:, layer]), layer])
                self.zeros_first[layer] = self._where(batch, first)

    def zero_decisions(self, used_L: np.ndarray) -> list[Finding]:
        """`used_L`: layers in which something else was chosen."""
        layers = np.flatnonzero((self.zeros_L > 0) & used_L)
        if not layers.size:
            return []
        first = self.zeros_first[int(layers[0])]
        return [finding("zero-decisions", int(self.zeros_L[layers].sum()), first)]

    def _note(self, batch: RoutingBatch, kind: str, places: np.ndarray) -> None:
        """`places`: by token, or by token and layer; numbers that are summed, or a mask."""
        if places.any():
            first = np.argwhere(places)[0]
            self.ledger.note(kind, int(places.sum()), self._where(batch, first))

    def _where(self, batch: RoutingBatch, place: np.ndarray) -> str:
        token = int(place[0])
        doc_id = int(batch.doc_id_T[token])
        origin = next((known.origin for known in batch.documents if known.doc_id == doc_id), "")
        words = f"{origin or f'text {doc_id}'}, token {batch.position_T[token]}"
        if len(place) == 1:
            return words
        ids = ", ".join(map(_shown, batch.expert_ids_TLK[token, place[1]][:16].tolist()))
        return f"{words}, {self.layers[place[1]].name}: {ids}"

    def _weighed(self, batch: RoutingBatch) -> RoutingBatch:
        ids_TLK, weights_TLK = batch.expert_ids_TLK, batch.weights_TLK
        chosen_TLK = ids_TLK != NO_EXPERT
        odd_TL = (chosen_TLK & ~np.isfinite(weights_TLK)).any(-1)
        if odd_TL.any() and not self.options.allow_nonfinite:
            where = self._where(batch, np.argwhere(odd_TL)[0])
            raise ValueError(
                f"{where}: a weight is NaN or infinite, and weights are finite; correct it, or "
                "store it all the same with --allow-nonfinite"
            )
        if odd_TL.any():  # with this very batch: no other may have such weights
            where = self._where(batch, np.argwhere(odd_TL)[0])
            found = finding("non-finite", int(odd_TL.sum()), where)
            batch = replace(batch, findings=(*batch.findings, found))
        weights_TLK = np.where(chosen_TLK, weights_TLK, np.float32(0))
        ids_TLK, weights_TLK, unordered_TL = by_weight(ids_TLK, weights_TLK)
        if self.ranked:
            self._note(batch, "ranks-of-weights", unordered_TL)
        sum_TL = weights_TLK.sum(-1)
        decided_TL = chosen_TLK.any(-1) & ~odd_TL
        if self.sums_L is None:
            self.sums_L = self._sums(sum_TL, decided_TL)
        odd_TL = sums_against(sum_TL, *self.sums_L) | (weights_TLK < 0).any(-1)
        self._note(batch, "weights-against-gate", odd_TL & decided_TL)
        return replace(batch, expert_ids_TLK=ids_TLK, weights_TLK=weights_TLK)

    def _sums(self, sum_TL: np.ndarray, decided_TL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Layers whose weights sum to one, and to at most one: as the format says, else as the
        first decisions do."""
        said = self.weights_sum
        if said is not None:
            every_L = np.ones(len(self.layers), bool)
            return every_L & (said == "one"), every_L & (said == "at most one")
        one_TL = (np.abs(sum_TL - 1) <= ROUNDING) & decided_TL
        one_L = one_TL.sum(0) >= MOSTLY * np.maximum(decided_TL.sum(0), 1)
        return one_L, np.zeros(len(self.layers), bool)

    def _compare(self, batch: RoutingBatch) -> None:
        ids_TLK = batch.expert_ids_TLK
        if not len(ids_TLK):
            return
        self._note(batch, "constant-rows", stale_rows(ids_TLK, batch.doc_id_T))
        if self.first_LK is None or self.first_LK.shape[1] != ids_TLK.shape[2]:
            self.first_LK = np.sort(ids_TLK[0], -1)
        suspects = np.flatnonzero(self.constant_L)
        ordered = np.sort(ids_TLK[:, suspects], -1) if suspects.size else ids_TLK[:, :0]
        self.constant_L[suspects] = (ordered == self.first_LK[suspects]).all((0, 2))
        self.tokens += len(ids_TLK)


def _shown(expert_id: int) -> str:
    """Ids beyond INT16 are kept as its limits."""
    low, high = INT16
    if low < expert_id < high:
        return str(expert_id)
    return f"{high} or more" if expert_id > 0 else f"{low} or less"
