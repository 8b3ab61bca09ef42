"""Experts in slow memory and a cache of some slots beside the processor: which policy hits how
often. A slot holds one expert, and an expert is computed in a slot; policies: docs/metrics.md.

R = requests, X = experts of all layers one after another, P = pools of slots, D = documents,
L = MoE layers, N = groups of texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.groups import summed
from analysis.offload import replay as cache_replay
from analysis.offload.predictions import (
    Fitted,
    Predictions,
    from_previous_token,
    from_transitions,
    nothing,
)
from analysis.offload.replay import empty_cache, next_uses
from analysis.offload.requests import Requests
from analysis.offload.rules import FITTED, PREVIOUS_TOKEN, RULES, TRANSITIONS

WARM_UP = 0.1  # of the tokens fill a warm cache before anything is counted
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)  # of all experts


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    slots: int  # in all
    per_layer: bool  # divided among the layers, not one pool
    cold: bool  # emptied before every text, not kept from text to text


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of the tokens that are counted."""

    asked_NL: np.ndarray
    hits_NL: np.ndarray
    ahead_NL: np.ndarray  # loaded because they were predicted
    tokens: int


@dataclass(frozen=True, slots=True)
class Subject:
    """The requests of the groups that judge, and what was known before of the others."""

    requests: Requests
    fitted: Fitted | None  # None: no group is left to fit to
    next_A: np.ndarray
    predicted: dict[str, Predictions]  # of the policies that prefetch

    @classmethod
    def of(cls, requests: Requests, fitted: Fitted | None) -> "Subject":
        predicted = {PREVIOUS_TOKEN: from_previous_token(requests)}
        if fitted is not None:
            predicted[TRANSITIONS] = from_transitions(requests, fitted)
        next_A = next_uses(requests.expert_A, requests.num_experts)
        return cls(requests, fitted, next_A, predicted)

    @property
    def policies(self) -> list[str]:
        return [name for name in RULES if self.fitted is not None or name not in FITTED]


def divided(slots: int, experts_L: np.ndarray) -> np.ndarray:
    """Slots of each layer, in proportion to its experts; what is left over goes to the largest
    remainders."""
    exact_L = slots * experts_L / experts_L.sum()
    slots_L = np.floor(exact_L).astype(np.int64)
    rest = slots - slots_L.sum()
    slots_L[np.argsort(slots_L - exact_L, kind="stable")[:rest]] += 1
    return slots_L


def least_slots(requests: Requests, *, per_layer: bool) -> int:
    """So many and every larger number hold every request: all its experts are needed at once."""
    largest_L, experts_L = requests.largest(), requests.experts_L
    if not per_layer:
        return int(largest_L.max(initial=1))
    enough_L = -(-largest_L * experts_L.sum() // experts_L)  # whatever becomes of the remainders
    slots = max(int(enough_L.max(initial=1)), 1)
    while slots > 1 and (divided(slots - 1, experts_L) >= largest_L).all():
        slots -= 1
    return slots


def usual_slots(
    requests: Requests, *, per_layer: bool, shares: Sequence[float] = SHARES
) -> list[int]:
    """Shares of all experts that hold every request."""
    least = least_slots(requests, per_layer=per_layer)
    every = [round(share * requests.num_experts) for share in shares]
    return sorted({slots for slots in every if slots >= least}) or [requests.num_experts]


def require_slots(requests: Requests, setting: Setting) -> None:
    most, least = requests.num_experts, least_slots(requests, per_layer=setting.per_layer)
    if least <= setting.slots <= most:
        return
    if setting.slots > most:
        why = f"this model has only {most:,} experts in all its layers"
    elif setting.per_layer:
        why = "every layer needs a slot for each expert that a token chooses there"
    else:
        why = f"a token needs {least} experts of a layer at once"
    raise ValueError(f"a cache of {setting.slots:,} slots: {why}; give {least:,} to {most:,}")


def simulate(subject: Subject, policy: str, setting: Setting) -> Outcome:
    """ValueError: so many slots do not go."""
    requests = subject.requests
    require_slots(requests, setting)
    num_experts, experts_L = requests.num_experts, requests.experts_L
    slots_P, pool_X = np.array([setting.slots]), np.zeros(num_experts, np.int64)
    if setting.per_layer:
        slots_P = divided(setting.slots, experts_L)
        pool_X = np.repeat(np.arange(len(experts_L)), experts_L)
    first = 0 if setting.cold else _first_counted(requests)
    predicted = subject.predicted.get(policy) or nothing(requests)
    counts = np.zeros((3, len(requests.unit_D), len(experts_L)), np.int32)
    cache_replay.replay(
        RULES[policy],
        empty_cache(pool_X, slots_P),
        (
            requests.expert_A,
            requests.start_R1,
            requests.layer_R,
            requests.token_R,
            requests.document_R,
        ),
        subject.next_A,
        _pinned(subject, policy, setting, slots_P),
        (predicted.expert_B, predicted.start_R, predicted.end_R),
        setting.cold,
        first,
        *counts,
    )
    tokens = requests.num_tokens - int(requests.token_R[first]) if len(requests.token_R) else 0
    asked_NL, hits_NL, ahead_NL = (summed(count_DL, requests.unit_D) for count_DL in counts)
    return Outcome(asked_NL, hits_NL, ahead_NL, tokens)


def _first_counted(requests: Requests) -> int:
    """The first request of the tokens that follow the warm-up."""
    return int(np.searchsorted(requests.token_R, int(WARM_UP * requests.num_tokens)))


def _pinned(subject: Subject, policy: str, setting: Setting, slots_P: np.ndarray) -> np.ndarray:
    """The most chosen experts, of a layer or of all; the largest request fits beside them."""
    requests, pinned_X = subject.requests, np.zeros(subject.requests.num_experts, np.bool_)
    if policy != "fixed":
        return pinned_X
    assert subject.fitted is not None
    choices_X, largest_L = subject.fitted.choices_X, requests.largest()
    ends = np.cumsum(requests.experts_L) if setting.per_layer else [requests.num_experts]
    largest_P = largest_L if setting.per_layer else [largest_L.max(initial=0)]
    begin = 0
    for slots, largest, end in zip(slots_P, largest_P, ends, strict=True):
        order = np.argsort(-choices_X[begin:end], kind="stable")
        pinned_X[begin + order[: slots - largest]] = True
        begin = end
    return pinned_X
