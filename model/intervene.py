"""What the model would do if its routing were different: changes that end with their block.

They work on any model with MoE layers whose gates weigh their experts by their scores, as they are
or made to sum to 1. Blocks may be nested: all changes are in force at once,
and where two contradict each other the inner one decides.

T = tokens, E = routed experts, K = chosen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from data.routing import NO_EXPERT
from model.losses import by_expert
from model.readable import GateRule, HasMoELayers, MoELayer
from model.recording import require_moe_layers, require_rule

GateOutput = tuple[Tensor | None, Tensor, Tensor]  # router_logits_TE, weights_TK, expert_ids_TK
Experts = Mapping[int, Sequence[int]]  # of each MoE layer named
TIE = 0.02  # of a score: further apart than by rounding to bfloat16


@dataclass(slots=True)
class Choice:
    """How the tokens of one forward of one gate choose: what a change may alter."""

    layer_id: int
    scores_TE: Tensor
    preference_TE: Tensor  # the largest are chosen; -inf: never, inf: always
    factor_E: Tensor  # of the weight
    top_k: int  # the most experts of a token
    min_k: int  # the fewest: the gate's rule says where between them it stops

    def indices(self, experts: Sequence[int]) -> Tensor:
        num_experts = self.scores_TE.shape[-1]
        for expert in experts:
            if not 0 <= expert < num_experts:
                raise ValueError(
                    f"MoE layer {self.layer_id} has experts 0 to {num_experts - 1}, not {expert}"
                )
        return torch.tensor(list(experts), dtype=torch.long, device=self.scores_TE.device)

    def choose(self, rule: GateRule) -> Tensor:
        """expert_ids_TK, the largest score first; NO_EXPERT where a token takes fewer."""
        if not 1 <= self.top_k <= self.scores_TE.shape[-1]:
            raise ValueError(
                f"a token of MoE layer {self.layer_id} chooses 1 to {self.scores_TE.shape[-1]} "
                f"experts, not {self.top_k}"
            )
        preference_TK, chosen_TK = self.preference_TE.topk(self.top_k, dim=-1)
        closed_TK = preference_TK.isneginf()
        if closed_TK[:, : self.min_k].any():
            raise ValueError(
                f"fewer than {self.min_k} experts of MoE layer {self.layer_id} are left to choose "
                "from; mask fewer, or choose fewer a token"
            )
        scores_TK = self.scores_TE.gather(-1, chosen_TK)
        kept_TK = rule.kept(scores_TK, min_k=self.min_k, max_k=self.top_k)
        kept_TK = (kept_TK | preference_TK.isposinf()) & ~closed_TK
        scores_TK = scores_TK.masked_fill(~kept_TK, -torch.inf)
        chosen_TK = chosen_TK.masked_fill(~kept_TK, NO_EXPERT)
        return chosen_TK.gather(-1, scores_TK.argsort(dim=-1, descending=True, stable=True))


Change = Callable[[Choice], None]


class Rerouting:
    """The one hook of a gate: chooses again under every change in force, the outermost first."""

    handle: RemovableHandle

    def __init__(self, layer_id: int, layer: MoELayer) -> None:
        self.layer_id, self.layer = layer_id, layer
        self.changes: list[Change] = []

    def __call__(
        self, gate: nn.Module, arguments: tuple[Tensor, ...], output: GateOutput
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not self.layer.takes_choices or not isinstance(output, tuple) or len(output) != 3:
            raise ValueError(
                f"the gate of MoE layer {self.layer_id} ({type(gate).__name__}) does something "
                "else than give choices and weights once a forward: other choices cannot be put in "
                "their place"
            )
        router_logits_TE, weights_TK, expert_ids_TK = output
        if router_logits_TE is None:
            raise ValueError(
                f"the gate of MoE layer {self.layer_id} has no scores (a hash of the token id): "
                "there is nothing to choose again by"
            )
        rule = require_rule(self.layer, self.layer_id)
        scores_TE = rule.scores(router_logits_TE.float())
        preference_TE = rule.preference(scores_TE)
        if preference_TE.isnan().all():
            raise ValueError(
                f"the gate of MoE layer {self.layer_id} does not choose by its scores, or it is "
                "not known how: what it would choose instead is not known either"
            )
        preference_TE = self.as_chosen(preference_TE, expert_ids_TK)
        min_k, max_k = self.layer.k_range
        choice = Choice(
            self.layer_id,
            scores_TE,
            preference_TE,
            torch.ones_like(scores_TE[0]),
            top_k=max_k,
            min_k=min_k,
        )
        weigh = self.weighing(scores_TE, expert_ids_TK, weights_TK)
        for change in self.changes:
            change(choice)
        chosen_TK = choice.choose(rule)
        new_TK = weigh(of_chosen(scores_TE, chosen_TK), chosen_TK)
        new_TK = new_TK * choice.factor_E[chosen_TK.clamp(min=0)]
        return router_logits_TE, new_TK.to(weights_TK.dtype), chosen_TK

    def as_chosen(self, preference_TE: Tensor, expert_ids_TK: Tensor) -> Tensor:
        """A preference of the gate's own choices: where scores tie but for rounding, the rule may
        prefer others than the gate."""
        if prefers(preference_TE, expert_ids_TK):
            return preference_TE.clone()
        chosen_TE = by_expert(torch.ones_like(expert_ids_TK), expert_ids_TK, self.layer.num_experts)
        best_TE, by_rule_TE = preference_TE.sort(dim=-1, descending=True, stable=True)
        order_TE = chosen_TE.gather(-1, by_rule_TE).argsort(dim=-1, descending=True, stable=True)
        own_TE = torch.empty_like(best_TE).scatter(-1, by_rule_TE.gather(-1, order_TE), best_TE)
        moved_TE = (own_TE != preference_TE) & own_TE.isfinite()
        if (moved_TE & ~near(own_TE, preference_TE)).any():
            raise ValueError(
                f"the gate of MoE layer {self.layer_id} chose other experts than those it should "
                "prefer: how it chooses is not known"
            )
        return own_TE

    def weighing(
        self, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """How the gate makes weights of the scores of chosen experts: as its rule says, or as read
        from what it gave."""
        if not weights_TK.isfinite().all():
            raise ValueError(
                f"MoE layer {self.layer_id} gives mixing weights that are NaN or infinite"
            )
        known = None if self.layer.rule is None else self.layer.rule.weigh
        scores_TK = of_chosen(scores_TE, expert_ids_TK)
        for weigh in (as_they_are, renormalized) if known is None else (known,):
            given_TK = weigh(scores_TK, expert_ids_TK)
            if torch.allclose(given_TK, weights_TK.float(), rtol=0.01, atol=1e-6):
                return weigh
        raise ValueError(
            f"the gate of MoE layer {self.layer_id} does not weigh experts by their scores, nor by "
            "scores that sum to 1: what it would give to other experts is not known"
        )


def prefers(preference_TE: Tensor, expert_ids_TK: Tensor) -> bool:
    """Whether these are the experts with the largest preference, and no other could be."""
    ids_TK = expert_ids_TK.where(expert_ids_TK != NO_EXPERT, expert_ids_TK[:, :1])
    rejected_TE = preference_TE.scatter(-1, ids_TK, -torch.inf)
    return bool((preference_TE.gather(-1, ids_TK).amin(-1) > rejected_TE.amax(-1)).all())


def near(one_TE: Tensor, other_TE: Tensor) -> Tensor:
    return torch.isclose(one_TE, other_TE, rtol=TIE, atol=1e-6)


def of_chosen(scores_TE: Tensor, expert_ids_TK: Tensor) -> Tensor:
    """The scores of the experts chosen [T, K]; 0 at NO_EXPERT."""
    return scores_TE.gather(-1, expert_ids_TK.clamp(min=0)) * (expert_ids_TK != NO_EXPERT)


def as_they_are(scores_TK: Tensor, expert_ids_TK: Tensor) -> Tensor:
    return scores_TK


def renormalized(scores_TK: Tensor, expert_ids_TK: Tensor) -> Tensor:
    return scores_TK / scores_TK.sum(-1, keepdim=True)


@contextmanager
def masked(model: HasMoELayers, experts: Experts) -> Iterator[None]:
    """No token reaches these experts: each chooses again, its k best among the rest."""

    def mask(choice: Choice) -> None:
        choice.preference_TE[:, choice.indices(experts[choice.layer_id])] = -torch.inf

    with rerouted(model, dict.fromkeys(experts, mask)):
        yield


@contextmanager
def masked_top(model: HasMoELayers, count: int) -> Iterator[None]:
    """Every token loses the `count` experts it scores highest, in every layer (2401.06066, 4.5)."""

    def mask(choice: Choice) -> None:
        if not 0 <= count <= choice.scores_TE.shape[-1] - choice.min_k:
            raise ValueError(
                f"masking the top {count} of {choice.scores_TE.shape[-1]} experts leaves fewer "
                f"than {choice.min_k}; mask 0 to {choice.scores_TE.shape[-1] - choice.min_k}"
            )
        top_TC = choice.scores_TE.topk(count, dim=-1).indices
        choice.preference_TE.scatter_(-1, top_TC, -torch.inf)

    with rerouted(model, dict.fromkeys(range(len(model.moe_layers())), mask)):
        yield


@contextmanager
def forced(model: HasMoELayers, experts: Experts) -> Iterator[None]:
    """Every token chooses these experts, each with its own score as weight, and then its best."""

    def force(choice: Choice) -> None:
        indices = choice.indices(experts[choice.layer_id])
        if len(set(experts[choice.layer_id])) > choice.top_k:
            raise ValueError(
                f"{len(set(experts[choice.layer_id]))} experts of MoE layer {choice.layer_id} are "
                f"forced, and a token chooses {choice.top_k}; force fewer"
            )
        choice.preference_TE[:, indices] = torch.inf

    with rerouted(model, dict.fromkeys(experts, force)):
        yield


@contextmanager
def activated(model: HasMoELayers, top_k: int) -> Iterator[None]:
    """Every token chooses `top_k` experts, in every layer."""

    def change(choice: Choice) -> None:
        choice.top_k = choice.min_k = top_k

    with rerouted(model, dict.fromkeys(range(len(model.moe_layers())), change)):
        yield


@contextmanager
def scaled(model: HasMoELayers, experts: Experts, *, factor: float) -> Iterator[None]:
    """The weights of these experts times `factor`; who is chosen stays."""

    def scale(choice: Choice) -> None:
        choice.factor_E[choice.indices(experts[choice.layer_id])] *= factor

    with rerouted(model, dict.fromkeys(experts, scale)):
        yield


@contextmanager
def without_shared(model: HasMoELayers) -> Iterator[None]:
    """The shared experts of every layer add nothing."""
    layers = model.moe_layers()
    shared = [layer.shared_experts for layer in layers if layer.shared_experts is not None]
    if not shared or len(shared) < len(layers):
        raise ValueError("the model has MoE layers without shared experts: nothing to leave out")
    with ExitStack() as stack:
        for module in shared:
            stack.callback(module.register_forward_hook(_nothing).remove)
        yield


def _nothing(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return torch.zeros_like(output)


@contextmanager
def rerouted(model: HasMoELayers, changes: Mapping[int, Change]) -> Iterator[None]:
    """Each MoE layer named chooses under its change."""
    layers = require_moe_layers(model)
    for layer_id in changes:
        if not 0 <= layer_id < len(layers):
            raise ValueError(f"the model has MoE layers 0 to {len(layers) - 1}, not {layer_id}")
    with ExitStack() as stack:
        for layer_id, change in changes.items():
            stack.enter_context(_changed(layers[layer_id], layer_id, change))
        yield


@contextmanager
def _changed(layer: MoELayer, layer_id: int, change: Change) -> Iterator[None]:
    """The hook comes with the first change of a gate and goes with the last."""
    hooks = layer.gate._forward_hooks.values()  # torch has no public way to look
    rerouting = next((hook for hook in hooks if isinstance(hook, Rerouting)), None)
    if rerouting is None:
        rerouting = Rerouting(layer_id, layer)
        rerouting.handle = layer.gate.register_forward_hook(rerouting)
    rerouting.changes.append(change)
    try:
        yield
    finally:
        rerouting.changes.remove(change)
        if not rerouting.changes:
            rerouting.handle.remove()
