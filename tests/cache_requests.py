"""Requests to a cache of experts from choices, and what a cache does with them, in plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.offload.requests import Requests

Request = tuple[int, int, list[int]]  # token, layer, experts by number among all


def requests_of(
    ids_TLK: np.ndarray, *, document_T: np.ndarray | None = None, experts_L: np.ndarray
) -> Requests:
    """-1 where a token chose none; every document is a group, all of one domain."""
    document_T = np.zeros(len(ids_TLK), int) if document_T is None else document_T
    first_L = np.cumsum(experts_L) - experts_L
    experts, starts, layers, tokens = [], [0], [], []
    for token, ids_LK in enumerate(ids_TLK):
        for layer, ids_K in enumerate(ids_LK):
            chosen = [first_L[layer] + expert for expert in ids_K if expert >= 0]
            if chosen:
                experts += chosen
                starts.append(len(experts))
                layers.append(layer)
                tokens.append(token)
    token_R = np.array(tokens, dtype=int)
    num_documents = int(document_T.max(initial=-1)) + 1
    return Requests(
        expert_A=np.array(experts, np.int32),
        start_R1=np.array(starts),
        layer_R=np.array(layers, np.int32),
        token_R=token_R,
        document_R=document_T[token_R].astype(np.int32),
        unit_D=np.arange(num_documents),
        domain_id_D=np.zeros(num_documents, int),
        experts_L=experts_L,
        shortened=0,
    )


def listed(requests: Requests) -> list[Request]:
    ends = zip(requests.start_R1[:-1], requests.start_R1[1:], strict=True)
    return [
        (int(token), int(layer), requests.expert_A[start:end].tolist())
        for token, layer, (start, end) in zip(requests.token_R, requests.layer_R, ends, strict=True)
    ]


def hits_of(
    requests: Requests,
    rule: Callable[["Slots", int], Any],
    *,
    slots: int,
    pool: Callable[[int], int] = lambda expert: 0,
    capacities: dict[int, int] | None = None,
    emptied: bool = False,
) -> list[int]:
    """Hits of every request; `rule`: what is evicted is the expert with the least of it."""
    cache, hits = Slots(requests), []
    document = None
    for number, (token, _, experts) in enumerate(cache.requests):
        if emptied and requests.document_R[number] != document:
            cache.held = {}
        document = requests.document_R[number]
        cache.token, cache.number = token, number
        hits.append(sum(expert in cache.held for expert in experts))
        for expert in experts:
            cache.clock += 1
            if expert not in cache.held:
                mates = [held for held in cache.held if pool(held) == pool(expert)]
                room = capacities[pool(expert)] if capacities else slots
                if len(mates) == room:
                    free = [held for held in mates if held not in experts]
                    del cache.held[min(free, key=lambda held: rule(cache, held))]
                cache.held[expert] = cache.clock
                cache.uses[expert] = 0
            cache.uses[expert] += 1
            cache.used[expert] = cache.clock
            cache.token_of[expert] = token
    return hits


class Slots:
    """What rules ask about."""

    def __init__(self, requests: Requests) -> None:
        self.requests = listed(requests)
        self.held: dict[int, int] = {}  # when it was loaded
        self.uses: dict[int, int] = {}  # since then
        self.used: dict[int, int] = {}
        self.token_of: dict[int, int] = {}
        self.clock, self.number, self.token = 0, 0, 0

    def next_use(self, expert: int) -> int:
        later = range(self.number + 1, len(self.requests))
        return next((r for r in later if expert in self.requests[r][2]), len(self.requests))


def lru(cache: Slots, expert: int) -> Any:
    return cache.used[expert]


def lfu(cache: Slots, expert: int) -> Any:
    return cache.uses[expert], cache.held[expert]


def least_stale(cache: Slots, expert: int) -> Any:
    return cache.token_of[expert] == cache.token, cache.held[expert]


def belady(cache: Slots, expert: int) -> Any:
    return -cache.next_use(expert)


def most_hits(requests: Requests, *, slots: int) -> int:
    """By trying everything that may be kept."""
    states: dict[frozenset[int], int] = {frozenset(): 0}
    for _, _, experts in listed(requests):
        asked = frozenset(experts)
        later: dict[frozenset[int], int] = {}
        for held, hits in states.items():
            hits += len(asked & held)
            for kept in _kept(held - asked, slots - len(asked)):
                state = kept | asked
                later[state] = max(later.get(state, -1), hits)
        states = later
    return max(states.values())


def _kept(held: frozenset[int], room: int) -> list[frozenset[int]]:
    """Every subset that fits."""
    kept = [frozenset[int]()]
    for expert in held:
        kept += [one | {expert} for one in kept if len(one) < room]
    return kept
