"""The first argument of EPLB's rebalance_experts: the load of each expert."""

import io
from collections.abc import Sequence

import numpy as np

from data.exports.layer_numbers import experts_of_all
from data.routing import LayerDescription


def weight(layers: Sequence[LayerDescription], tokens_LE: np.ndarray) -> np.ndarray:
    """[L, E] of int64, MoE layers only."""
    experts_of_all(layers, "EPLB")
    return tokens_LE.astype(np.int64)


def npy(array: np.ndarray) -> bytes:
    """As numpy.load reads it."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
