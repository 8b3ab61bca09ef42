"""Every batch of every importer is looked at here: what cannot be right is left out or refused, and
always named. T = tokens, L = MoE layers, K = most experts any token chose, N = documents.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from data.counts import CountsBatch
from data.importers.checks.choices import Choices
from data.importers.checks.findings import Ledger, finding, summed
from data.importers.source import Meter, Options, Source
from data.routing import Finding, RoutingBatch

LOOKED_AT = 1_000  # tokens by whose choices dense layers are known
HELD = 8  # batches in which so many are

Batch = RoutingBatch | CountsBatch


class Checked:
    """The batches of a source as a trace takes them. To begin, the first are read: `layers` are
    those that are MoE layers."""

    def __init__(self, source: Source, options: Options, meter: Meter) -> None:
        """ValueError: no routing, or none that can be right."""
        self.source, self.options = source, options
        self._own = source.described is not None
        self._raw = source.batches(meter)
        self._held = self._first()
        self.doubts_zeros = self._can_doubt_zeros()
        self._kept = self._moe_layers()
        self.layers = tuple(source.layers[layer] for layer in self._kept)
        self._ledger = Ledger()
        self._of_batches: list[Finding] = []
        self._checks = Choices(
            source, options, self._ledger, kept=self._kept, zeros=self.doubts_zeros
        )

    @property
    def findings(self) -> list[Finding]:
        """So far; all of them after the last batch."""
        return summed([*self._of_batches, *self._last_findings()])

    def _last_findings(self) -> list[Finding]:
        """Those that no batch has yet."""
        return [*self.source.findings, *self._of_layers(), *self._ledger.findings()]

    def batches(self) -> Iterator[Batch]:
        """Each once. The last one has the findings of all."""
        before: Batch | None = None
        for raw in chain(self._held, self._raw):
            batch = self._checked(raw)
            self._of_batches = summed([*self._of_batches, *batch.findings])
            if before is not None:
                yield before
            before = batch
        assert before is not None  # or nothing would have been held
        yield replace(before, findings=(*before.findings, *self._last_findings()))

    def _first(self) -> list[Batch]:
        held: list[Batch] = []
        tokens = 0
        for batch in self._raw:
            held.append(batch)
            tokens += int(_used(batch).any(-1).sum())
            if tokens >= LOOKED_AT or len(held) == HELD:
                break
        if not held:
            raise ValueError(f"there is no routing in these files of format {self.source.format}")
        return held

    def _moe_layers(self) -> list[int]:
        """Places of the layers that are stored."""
        self._used_L = np.logical_or.reduce([_used(batch).any(0) for batch in self._held])
        if self.options.layers == "moe" or not self.doubts_zeros or self._used_L.all() or self._own:
            self._left = np.array([], int)
            return list(range(len(self.source.layers)))
        if not self._used_L.any():
            raise ValueError(
                "every choice is expert 0, or nothing, in all layers: nothing was recorded; see "
                "that the recorder was on"
            )
        self._left = np.flatnonzero(~self._used_L)
        return np.flatnonzero(self._used_L).tolist()

    def _can_doubt_zeros(self) -> bool:
        """Whether expert 0 alone, or none, means that nothing was recorded: no gate chooses one
        expert twice. Of one choice a token it may be right."""
        several = any(
            isinstance(batch, CountsBatch) or batch.expert_ids_TLK.shape[2] > 1
            for batch in self._held
        )
        return several or self.options.layers == "all"

    def _of_layers(self) -> list[Finding]:
        found: list[Finding] = []
        if self._own:
            return found
        if self._left.size:
            kind = "dense-layers" if self.options.layers == "all" else "zero-layers"
            found.append(self._naming(kind, self._left))
        idle = np.flatnonzero(~self._used_L[self._kept])
        if idle.size and self.doubts_zeros:
            found.append(self._naming("missed-layers", np.array(self._kept)[idle]))
        used_L = self._used_L[self._kept]
        constant = self._checks.constant_layers()
        if (constant := constant[used_L[constant]]).size:
            found.append(self._naming("constant-layers", np.array(self._kept)[constant]))
        found += self._checks.zero_decisions(used_L)
        return found

    def _naming(self, kind: str, layers: np.ndarray) -> Finding:
        return finding(kind, len(layers), self.source.layers[layers[0]].name)

    def _checked(self, batch: Batch) -> Batch:
        if self._own:
            return batch
        used_L = np.asarray(_used(batch).any(axis=0))
        if used_L[self._left].any():
            layer = self.source.layers[self._left[used_L[self._left]][0]]
            raise ValueError(
                f"{layer.name} names expert 0 alone at the beginning and others later "
                f"({_origin(batch)}): it is a MoE layer that was recorded in part; give --layers "
                "moe"
            )
        self._used_L = self._used_L | used_L
        if isinstance(batch, RoutingBatch):
            return self._checks.checked(_of_layers(batch, self._kept))
        return self._counted(batch)

    def _counted(self, batch: CountsBatch) -> CountsBatch:
        counts_NLE = batch.tokens_NLE[:, self._kept]
        k_L = np.array([layer.top_k or 1 for layer in self.layers])
        uneven_NL = counts_NLE.sum(-1) % k_L != 0
        if uneven_NL.any():
            where = batch.documents[int(np.argwhere(uneven_NL)[0][0])].origin
            self._ledger.note("uneven-counts", int(uneven_NL.sum()), where)
        weights_NLE = batch.weight_sum_NLE
        if weights_NLE is not None:
            weights_NLE = weights_NLE[:, self._kept]
        return replace(batch, tokens_NLE=counts_NLE, weight_sum_NLE=weights_NLE)


def checked(source: Source, options: Options, meter: Meter | None = None) -> Checked:
    return Checked(source, options, meter or Meter())


def _used(batch: Batch) -> np.ndarray:
    """By token or document, and layer: some expert but 0 is chosen, or counted."""
    if isinstance(batch, CountsBatch):
        return np.max(batch.tokens_NLE, axis=-1, initial=0) > 0
    return np.max(batch.expert_ids_TLK, axis=-1, initial=0) > 0


def _of_layers(batch: RoutingBatch, kept: list[int]) -> RoutingBatch:
    if len(kept) == batch.expert_ids_TLK.shape[1]:
        return batch
    return replace(
        batch,
        expert_ids_TLK=batch.expert_ids_TLK[:, kept],
        weights_TLK=batch.weights_TLK[:, kept],
        entropy_TL=None if batch.entropy_TL is None else batch.entropy_TL[:, kept],
        margin_TL=None if batch.margin_TL is None else batch.margin_TL[:, kept],
        dropped_ids_TLK=None if batch.dropped_ids_TLK is None else batch.dropped_ids_TLK[:, kept],
    )


def _origin(batch: Batch) -> str:
    return batch.documents[0].origin if batch.documents else "further on"
