"""What a model routes, seen from outside: hooks on gate and experts of every MoE layer.

What the experts receive is what is executed, a weight of 0 too. Where a layer has a capacity, its
`admission` says what was refused.

T = tokens (sequences x positions, row-major), D = model dim, E = routed experts, K = chosen,
L = MoE layers, R = recorded rows.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from data.routing import NO_EXPERT
from model.decisions import Decisions, Transfer
from model.readable import GateRule, HasMoELayers, MoELayer, StackableRule

AT_ONCE = {"cpu": 0, "cuda": 2**25}  # logits of layers together: few large steps suit a GPU


class ExpertInput(NamedTuple):
    """What the experts of one MoE layer were given."""

    x_TD: Tensor
    expert_ids_TK: Tensor
    weights_TK: Tensor


class Recording:
    """References to what the last forward of the whole model decided, layer by layer."""

    def __init__(self, layers: Sequence[MoELayer], *, inputs: bool) -> None:
        self._layers = layers
        self._keeps_inputs = inputs
        self.clear()

    def clear(self) -> None:
        self._router_logits: dict[int, Tensor | None] = {}
        self._executed: dict[int, tuple[Tensor, Tensor]] = {}
        self._kept: dict[int, Tensor] = {}  # of layers with a capacity
        self._x: dict[int, Tensor] = {}

    def require_whole_forward(self) -> None:
        if len(self._executed) != len(self._layers):
            raise ValueError(
                f"{len(self._executed)} of {len(self._layers)} MoE layers ran in the last forward; "
                "run the whole model once before each hand-over, and compile it after hooks are "
                "attached (what torch.compile made before does not call them)"
            )

    def require_same_rows(self) -> None:
        rows = {len(expert_ids) for expert_ids, _ in self._executed.values()}
        if len(rows) > 1:
            raise ValueError(
                f"the MoE layers ran on {sorted(rows)} rows: which token each is, is not known"
            )

    def transfer(self, rows_R: Tensor | None = None, loss_R: Tensor | None = None) -> Transfer:
        """Send the given rows (all without) to the host, and forget the forward."""
        self.require_whole_forward()
        self.require_same_rows()
        device = self._executed[0][0].device  # a model may be spread over several
        decided = [self._decided(group, rows_R) for group in self._groups()]
        ids, weights, entropy, margin, finite, explained = (
            [part.to(device) for part in parts] for parts in zip(*decided, strict=True)
        )
        loss_T = torch.full_like(entropy[0][0], torch.nan) if loss_R is None else loss_R.float()
        values = {
            "weights_TLK": by_token(pad(weights, 0.0)),
            "entropy_TL": by_token(entropy),
            "margin_TL": by_token(margin),
            "loss_T": loss_T,
            "expert_ids_TLK": by_token(pad(ids, NO_EXPERT)),
            "finite_TL": by_token(finite),
            "explained_TL": by_token(explained),
        }
        if self._kept:
            found = [self._found_room(layer_id, rows_R) for layer_id in range(len(self._layers))]
            values["kept_TLK"] = by_token(pad([each.to(device) for each in found], True))
        self.clear()
        return Transfer(values)

    def take(self) -> Decisions:
        """All rows of the last forward, now."""
        return self.transfer().wait()

    def inputs(self, rows_R: Tensor) -> list[ExpertInput]:
        """What the experts of each layer were given for the rows; forgets the forward."""
        assert self._keeps_inputs
        self.require_whole_forward()
        given = [
            ExpertInput(self._x[layer_id], *self._executed[layer_id])
            for layer_id in range(len(self._layers))
        ]
        self.clear()
        return [ExpertInput(*(part[rows_R.to(part.device)] for part in layer)) for layer in given]

    def _groups(self) -> list[list[int]]:
        """All layers, in their order; what those of a group decided is worked out at once."""
        groups: list[list[int]] = [[0]]
        for layer_id in range(1, len(self._layers)):
            if self._joins(layer_id, groups[-1]):
                groups[-1].append(layer_id)
            else:
                groups.append([layer_id])
        return groups

    def _joins(self, layer_id: int, group: list[int]) -> bool:
        first = group[0]
        logits_TE, others_TE = self._router_logits.get(layer_id), self._router_logits.get(first)
        if logits_TE is None or others_TE is None or self._kept:
            return False
        if (len(group) + 1) * logits_TE.numel() > AT_ONCE[logits_TE.device.type]:
            return False
        pairs = zip(self._executed[layer_id], self._executed[first], strict=True)
        if not all(alike(x, y) for x, y in [(logits_TE, others_TE), *pairs]):
            return False
        rule, other = (require_rule(self._layers[x], x) for x in (first, layer_id))
        return isinstance(rule, StackableRule) and rule.alike(other)

    def _decided(self, group: list[int], rows_R: Tensor | None) -> tuple[Tensor, ...]:
        """(expert_ids_LRK, weights_LRK, entropy_LR, margin_LR, finite_LR, explained_LR)"""
        expert_ids, weights = (
            stacked([self._executed[layer_id][part] for layer_id in group], rows_R)
            for part in (0, 1)
        )
        weights = weights.float()
        if weights.is_cuda and not self._kept:  # the host would take longer than the model
            weights, order = weights.sort(dim=-1, descending=True, stable=True)
            expert_ids = expert_ids.gather(-1, order)
        chosen = expert_ids.to(torch.int16), weights
        given = [x for layer_id in group if (x := self._router_logits.get(layer_id)) is not None]
        if not given:
            unknown = torch.full_like(weights[..., 0], torch.nan)
            yes = torch.ones_like(unknown, dtype=torch.bool)
            return *chosen, unknown, unknown, yes, yes
        router_logits = stacked(given, rows_R)
        rules = [require_rule(self._layers[layer_id], layer_id) for layer_id in group]
        rule = rules[0]
        if len(group) > 1 and isinstance(rule, StackableRule):
            rule = rule.stacked(rules)
        scores = rule.scores(router_logits.float())
        finite = finite_rows(router_logits)
        entropy_LR, margin_LR = entropy(scores), margin(rule.preference(scores), expert_ids)
        explained = rule.explains(scores, expert_ids, weights)
        if explained is None:
            return *chosen, entropy_LR, margin_LR, finite, torch.ones_like(finite)
        if group[0] in self._kept:  # the refused weigh 0, or anything
            explained |= ~self._found_room(group[0], rows_R).all(-1)
        unknown = ~explained & finite
        entropy_LR, margin_LR = (x.masked_fill(unknown, torch.nan) for x in (entropy_LR, margin_LR))
        margin_LR = margin_LR.where(margin_LR >= 0, torch.nan)  # near ties, rounded otherwise
        return *chosen, entropy_LR, margin_LR, finite, explained | ~finite

    def _found_room(self, layer_id: int, rows_R: Tensor | None) -> Tensor:
        """kept_1RK, True all over in a layer without a capacity."""
        kept_TK = self._kept.get(layer_id)
        if kept_TK is None:
            kept_TK = torch.ones_like(self._executed[layer_id][0], dtype=torch.bool)
        return stacked([kept_TK], rows_R)

    def keep_logits(self, layer_id: int, router_logits_TE: Tensor | None) -> None:
        if layer_id == 0:  # another forward has begun
            self.clear()
        detached_TE = None if router_logits_TE is None else router_logits_TE.detach()
        self._router_logits[layer_id] = detached_TE

    def keep_admitted(self, layer_id: int, kept_TK: Tensor) -> None:
        self._kept[layer_id] = kept_TK.detach()

    def keep_executed(
        self, layer_id: int, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor
    ) -> None:
        self._executed[layer_id] = expert_ids_TK.detach(), weights_TK.detach()
        if self._keeps_inputs:
            self._x[layer_id] = x_TD.detach()


def require_rule(layer: MoELayer, layer_id: int) -> GateRule:
    if layer.rule is None:
        raise ValueError(
            f"the gate of MoE layer {layer_id} gives logits and does not say how it scores them; "
            "give its layer a rule"
        )
    return layer.rule


def entropy(scores_TE: Tensor) -> Tensor:
    """Nats of scores / sum(scores): sum(-s log s) / sum(s) + log sum(s). Scores that all but
    vanish leave nothing but rounding: it stays within 0 and log E."""
    total_T = scores_TE.sum(-1)
    log_TE = scores_TE.clamp_min(torch.finfo(torch.float32).tiny).log()  # 0 log 0 is 0
    entropy_T = total_T.log() - (scores_TE * log_TE).sum(-1) / total_T
    return entropy_T.clamp(0, math.log(scores_TE.shape[-1]))


def margin(chosen_by_TE: Tensor, expert_ids_TK: Tensor) -> Tensor:
    """Last chosen minus best rejected; NaN where every expert was chosen, or one of the two is
    NaN or infinite."""
    ids_TK = expert_ids_TK.where(expert_ids_TK != NO_EXPERT, expert_ids_TK[..., :1])
    last_T = chosen_by_TE.gather(-1, ids_TK).amin(-1)
    rejected_TE = chosen_by_TE.scatter(-1, ids_TK, -torch.inf)
    margin_T = last_T - rejected_TE.amax(-1)
    return margin_T.where(margin_T.isfinite(), torch.nan)


def finite_rows(values_TE: Tensor) -> Tensor:
    """Which rows hold finite numbers alone: the largest size shows NaN and infinity. On a CPU a
    fourth of what isfinite of all or aminmax takes."""
    return values_TE.abs().amax(-1).isfinite()


def alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


def stacked(layers: list[Tensor], rows_R: Tensor | None) -> Tensor:
    """The given rows (all without) of each layer."""
    whole = layers[0].unsqueeze(0) if len(layers) == 1 else torch.stack(layers)
    return whole if rows_R is None else whole.index_select(1, rows_R.to(whole.device))


def pad(groups: list[Tensor], fill: float) -> list[Tensor]:
    """Layers may choose different numbers of experts."""
    width = max(group.shape[-1] for group in groups)
    return [F.pad(group, (0, width - group.shape[-1]), value=fill) for group in groups]


def by_token(groups: list[Tensor]) -> Tensor:
    """[T, L, ...] of groups of layers [L, T, ...]."""
    return torch.cat(groups).transpose(0, 1)


def require_moe_layers(model: HasMoELayers) -> Sequence[MoELayer]:
    layers = model.moe_layers()
    if not layers:
        raise ValueError("the model has no MoE layer")
    return layers


@contextmanager
def recorded_routing(model: HasMoELayers, *, inputs: bool = False) -> Iterator[Recording]:
    """Record every forward of the model inside the block; `inputs`: what experts are given, too.
    Attach before torch.compile."""
    layers = require_moe_layers(model)
    recording = Recording(layers, inputs=inputs)
    with ExitStack() as stack:
        for layer_id, layer in enumerate(layers):
            for handle in layer.watch(LayerRecord(recording, layer_id)):
                stack.callback(handle.remove)
        yield recording


class LayerRecord(NamedTuple):
    """Watches one layer for a recording."""

    recording: Recording
    layer_id: int

    def decided(self, router_logits_TE: Tensor | None) -> None:
        self.recording.keep_logits(self.layer_id, router_logits_TE)

    def admitted(self, kept_TK: Tensor) -> None:
        self.recording.keep_admitted(self.layer_id, kept_TK)

    def executed(self, x_TD: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> None:
        self.recording.keep_executed(self.layer_id, x_TD, expert_ids_TK, weights_TK)
