"""Layers with different numbers of experts. N = groups, L = MoE layers, E = the most experts of any
layer, G = domains.

A place that is no expert is NaN in [L, E]. In [N, L, E] it is 0, and whoever counts experts there
is given how many each layer has, experts_L; None: every place is one.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Value = TypeVar("Value")
MAX_THREADS = 4  # each has a layer in memory


def experts(shape: tuple[int, ...], experts_L: np.ndarray | None) -> np.ndarray:
    """Which of the places [L, E] are experts."""
    if experts_L is None:
        return np.ones(shape, dtype=bool)
    return np.arange(shape[1]) < experts_L[:, None]


def marked(tokens_LE: np.ndarray, experts_L: np.ndarray) -> np.ndarray:
    """NaN in places that are no expert; of [L, E] or [L, E, G]."""
    is_expert_LE = experts(tokens_LE.shape[:2], experts_L)
    if tokens_LE.ndim == 3:
        is_expert_LE = is_expert_LE[..., None]
    return np.where(is_expert_LE, tokens_LE, np.nan)


def of_layers(tokens_NLE: np.ndarray, experts_L: np.ndarray | None) -> list[np.ndarray]:
    """tokens_NE of each layer, of the experts that it has."""
    layers = np.moveaxis(tokens_NLE, 1, 0)
    if experts_L is None:
        return list(layers)
    return [tokens_NE[:, :count] for tokens_NE, count in zip(layers, experts_L, strict=True)]


def known_experts(tokens_LE: np.ndarray) -> np.ndarray:
    """Experts of each layer of a marked array [L]."""
    return (~np.isnan(tokens_LE)).sum(-1)


def in_threads(of_one: Callable[[int], Value], count: int) -> list[Value]:
    """of_one(0), of_one(1), ..., of every layer, several at a time."""
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(of_one, range(count)))
