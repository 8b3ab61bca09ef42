"""A cache of experts, replayed request by request: one loop for every policy.

What is evicted is whatever has the least priority, and a policy is a rule for priorities. A request
is the experts that a token needs of one layer, all at once: they are looked up before any of them
is loaded, and none is evicted for another.

A = accesses, R = requests, X = experts of all layers one after another, P = pools of slots,
S = slots, B = experts predicted for requests, D = documents, L = MoE layers.
"""

from typing import NamedTuple

import numpy as np

from analysis.offload.rules import BELADY, FIXED, LEAST_STALE, LFU
from data.compiled import compiled

FIRST = 1 << 60  # of FIXED what is never evicted, of LEAST_STALE what the present token used
TIED = 1 << 32  # above every clock: what was used equally often differs in when it was loaded


class Cache(NamedTuple):
    """An expert that is cached lies in the heap of its pool, or is in use and cannot be evicted."""

    slots_P: np.ndarray
    begin_P: np.ndarray  # of a pool's heap
    size_P: np.ndarray  # of the heap
    held_P: np.ndarray  # slots that are taken
    heap_S: np.ndarray
    pool_X: np.ndarray
    cached_X: np.ndarray
    place_X: np.ndarray  # in the heap; -1: in none
    priority_X: np.ndarray


def empty_cache(pool_X: np.ndarray, slots_P: np.ndarray) -> Cache:
    num_experts, num_pools = len(pool_X), len(slots_P)
    return Cache(
        slots_P=slots_P,
        begin_P=np.cumsum(slots_P) - slots_P,
        size_P=np.zeros(num_pools, np.int64),
        held_P=np.zeros(num_pools, np.int64),
        heap_S=np.empty(slots_P.sum(), np.int32),
        pool_X=pool_X,
        cached_X=np.zeros(num_experts, np.bool_),
        place_X=np.full(num_experts, -1, np.int64),
        priority_X=np.zeros(num_experts, np.int64),
    )


@compiled()
def next_uses(expert_A, num_experts):  # type: ignore[no-untyped-def]
    """The access that asks for the same expert next, or their number [A]."""
    next_A, seen_X = np.empty(len(expert_A), np.int64), np.full(num_experts, len(expert_A))
    for a in range(len(expert_A) - 1, -1, -1):
        next_A[a] = seen_X[expert_A[a]]
        seen_X[expert_A[a]] = a
    return next_A


@compiled()
def _sift_up(cache, x, place):  # type: ignore[no-untyped-def]
    """Write x at this place of its heap, or as far above it as it belongs; where that is."""
    begin, priority = cache.begin_P[cache.pool_X[x]], cache.priority_X[x]
    while place > 0:
        parent = cache.heap_S[begin + ((place - 1) >> 1)]
        if cache.priority_X[parent] <= priority:
            break
        cache.heap_S[begin + place] = parent
        cache.place_X[parent] = place
        place = (place - 1) >> 1
    cache.heap_S[begin + place] = x
    cache.place_X[x] = place
    return place


@compiled()
def _sift_down(cache, x, place):  # type: ignore[no-untyped-def]
    pool = cache.pool_X[x]
    begin, size, priority = cache.begin_P[pool], cache.size_P[pool], cache.priority_X[x]
    while 2 * place + 1 < size:
        below = 2 * place + 1
        child = cache.heap_S[begin + below]
        if below + 1 < size:
            other = cache.heap_S[begin + below + 1]
            if cache.priority_X[other] < cache.priority_X[child]:
                below, child = below + 1, other
        if priority <= cache.priority_X[child]:
            break
        cache.heap_S[begin + place] = child
        cache.place_X[child] = place
        place = below
    cache.heap_S[begin + place] = x
    cache.place_X[x] = place


@compiled()
def _take(cache, x):  # type: ignore[no-untyped-def]
    """Out of its heap: it is in use."""
    pool, place = cache.pool_X[x], cache.place_X[x]
    cache.place_X[x] = -1
    cache.size_P[pool] -= 1
    if place < cache.size_P[pool]:
        last = cache.heap_S[cache.begin_P[pool] + cache.size_P[pool]]
        if _sift_up(cache, last, place) == place:
            _sift_down(cache, last, place)


@compiled()
def _give_back(cache, used, count):  # type: ignore[no-untyped-def]
    """The first of these that are in use: they may be evicted again."""
    for i in range(count):
        pool = cache.pool_X[used[i]]
        cache.size_P[pool] += 1
        _sift_up(cache, used[i], cache.size_P[pool] - 1)


@compiled()
def _load(cache, x):  # type: ignore[no-untyped-def]
    """Into a slot, in use; whether there was one."""
    pool = cache.pool_X[x]
    if cache.held_P[pool] == cache.slots_P[pool]:
        if cache.size_P[pool] == 0:
            return False
        evicted = cache.heap_S[cache.begin_P[pool]]
        _take(cache, evicted)
        cache.cached_X[evicted] = False
        cache.held_P[pool] -= 1
    cache.cached_X[x] = True
    cache.held_P[pool] += 1
    return True


@compiled()
def _load_ahead(cache, predicted, used, count, clock):  # type: ignore[no-untyped-def]
    """Those predicted, while `count` experts of the request before are in use: how many are in use
    then, and how many were loaded. What is there already is not evicted for the others."""
    loads, begun = 0, count
    for missing in (False, True):
        for x in predicted:
            if cache.cached_X[x] == missing:
                continue
            if not missing and cache.place_X[x] >= 0:
                _take(cache, x)
            elif not (missing and _load(cache, x)):
                continue
            loads += missing
            used[count] = x
            count += 1
    for i in range(begun, count):
        cache.priority_X[used[i]] = clock + 1 + i
    return count, loads


@compiled()
def _make_stale(cache, expert_A):  # type: ignore[no-untyped-def]
    """What the last token used, as far as it is still cached."""
    for x in expert_A:
        if cache.place_X[x] >= 0 and cache.priority_X[x] >= FIRST:
            cache.priority_X[x] -= FIRST
            _sift_up(cache, x, cache.place_X[x])


@compiled()
def replay(  # type: ignore[no-untyped-def]
    policy,
    cache,
    requests,
    next_A,
    pinned_X,
    predicted,
    emptied,
    first_counted,
    asked_DL,
    hits_DL,
    ahead_DL,
):
    """To the last three: accesses, hits and experts loaded ahead, from request `first_counted` on.

    requests: expert_A, start_R1, layer_R, token_R, document_R. predicted: expert_B, start_R,
    end_R, what is loaded before each request; only with LRU. `emptied`: the cache is, before every
    document. A pool has as many slots as its largest request asks for, or more.
    """
    expert_A, start_R1, layer_R, token_R, document_R = requests
    expert_B, begin_R, end_R = predicted
    uses_X, loaded_X = np.zeros(len(pinned_X), np.int64), np.zeros(len(pinned_X), np.int64)
    used = np.empty(len(pinned_X), np.int32)
    count, token_start, clock = 0, 0, 0
    for r in range(len(layer_R)):
        d, layer, counted = document_R[r], layer_R[r], r >= first_counted
        if emptied and r > 0 and d != document_R[r - 1]:
            cache.cached_X[:], cache.place_X[:] = False, -1
            cache.size_P[:], cache.held_P[:] = 0, 0
            count = 0
        if begin_R[r] < end_R[r]:
            ahead = expert_B[begin_R[r] : end_R[r]]
            count, loads = _load_ahead(cache, ahead, used, count, clock)
            clock += count
            if counted:
                ahead_DL[d, layer] += loads
        _give_back(cache, used, count)
        count = 0
        if r > 0 and token_R[r] != token_R[r - 1]:
            if policy == LEAST_STALE:
                _make_stale(cache, expert_A[start_R1[token_start] : start_R1[r]])
            token_start = r
        for a in range(start_R1[r], start_R1[r + 1]):
            x = expert_A[a]
            if cache.cached_X[x] and cache.place_X[x] >= 0:
                _take(cache, x)
                uses_X[x] += 1
                used[count] = x
                count += 1
        if counted:
            asked_DL[d, layer] += start_R1[r + 1] - start_R1[r]
            hits_DL[d, layer] += count
        for a in range(start_R1[r], start_R1[r + 1]):
            x, clock = expert_A[a], clock + 1
            if not cache.cached_X[x]:
                _load(cache, x)
                uses_X[x], loaded_X[x] = 1, clock
                used[count] = x
                count += 1
            if policy == LFU:
                cache.priority_X[x] = uses_X[x] * TIED + loaded_X[x]
            elif policy == BELADY:
                cache.priority_X[x] = -next_A[a]
            elif policy == LEAST_STALE:
                cache.priority_X[x] = FIRST + loaded_X[x]
            else:
                cache.priority_X[x] = FIRST if policy == FIXED and pinned_X[x] else clock
