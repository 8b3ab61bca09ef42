"""Swaps of two places that make a map better, one layer at a time. P = places, H = GPUs."""

import numpy as np

from data.compiled import compiled

SWEEPS = 20  # over all pairs of places; the last ones hardly find any


@compiled()
def swap_for_balance(load_P, gpu_P, num_gpus):  # type: ignore[no-untyped-def]
    """gpu_P, changed in place: the busiest GPU swaps a place with another as long as that leaves
    both below it."""
    load_H = np.zeros(num_gpus)
    for p in range(len(load_P)):
        load_H[gpu_P[p]] += load_P[p]
    while True:
        busiest = np.argmax(load_H)
        best, first, second = load_H[busiest] * (1 - 1e-9), -1, -1
        for p in range(len(load_P)):
            if gpu_P[p] != busiest:
                continue
            for q in range(len(load_P)):
                moved = load_P[p] - load_P[q]
                if gpu_P[q] == busiest or moved <= 0:
                    continue
                larger = max(load_H[busiest] - moved, load_H[gpu_P[q]] + moved)
                if larger < best:
                    best, first, second = larger, p, q
        if first < 0:
            return
        moved = load_P[first] - load_P[second]
        load_H[busiest] -= moved
        load_H[gpu_P[second]] += moved
        gpu_P[first], gpu_P[second] = gpu_P[second], gpu_P[first]


@compiled()
def swap_for_nearness(load_P, pairs_PP, near_HH, most, gpu_P):  # type: ignore[no-untyped-def]
    """gpu_P, changed in place: places swap as long as that raises the sum of pairs_PP times
    near_HH of their GPUs and loads neither GPU with more than `most`."""
    num_places, num_gpus = len(load_P), len(near_HH)
    load_H = np.zeros(num_gpus)
    for p in range(num_places):
        load_H[gpu_P[p]] += load_P[p]
    sum_PH = np.zeros((num_places, num_gpus))
    for p in range(num_places):
        for q in range(num_places):
            for gpu in range(num_gpus):
                sum_PH[p, gpu] += pairs_PP[p, q] * near_HH[gpu_P[q], gpu]
    for _ in range(SWEEPS):
        swapped = False
        for p in range(num_places):
            for q in range(p + 1, num_places):
                here, there = gpu_P[p], gpu_P[q]
                if here == there:
                    continue
                apart = near_HH[here, here] + near_HH[there, there] - 2 * near_HH[here, there]
                gain = sum_PH[p, there] - sum_PH[p, here] + sum_PH[q, here] - sum_PH[q, there]
                if gain - pairs_PP[p, q] * apart <= 1e-9:
                    continue
                moved = load_P[p] - load_P[q]
                if load_H[here] - moved > most and moved < 0:
                    continue
                if load_H[there] + moved > most and moved > 0:
                    continue
                gpu_P[p], gpu_P[q] = there, here
                load_H[here] -= moved
                load_H[there] += moved
                for other in range(num_places):
                    change = pairs_PP[other, p] - pairs_PP[other, q]
                    for gpu in range(num_gpus):
                        sum_PH[other, gpu] += change * (near_HH[there, gpu] - near_HH[here, gpu])
                swapped = True
        if not swapped:
            return
