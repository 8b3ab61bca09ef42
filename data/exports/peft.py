"""Which modules belong to some experts, as PEFT's target_modules takes them.

L = MoE layers, E = routed experts.
"""

import re
from collections.abc import Sequence

import numpy as np

from data.routing import LayerDescription

PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
ACTIVATIONS = "act"  # how a module without weights is called, which PEFT refuses: act_fn


def target_modules(layers: Sequence[LayerDescription], listed_LE: np.ndarray) -> str:
    """A regular expression, which PEFT matches with whole names: of model.layers.3.mlp.experts.17,
    as an expert is called that is a module of its own, it takes what lies in it. ValueError: a
    layer of the trace has no name of a module, or nothing is listed."""
    parts = []
    for layer, listed_E in zip(layers, listed_LE, strict=True):
        if not PATH.fullmatch(layer.name):
            raise ValueError(
                f"{layer.name!r:.80} is no name of a module, and PEFT takes modules by their names"
            )
        if listed_E.any():
            ids = "|".join(str(expert) for expert in np.flatnonzero(listed_E).tolist())
            parts.append(rf"{re.escape(layer.name)}\.experts\.(?:{ids})")
    if not parts:
        raise ValueError("no expert is listed, so there is none to name")
    return rf"(?:{'|'.join(parts)})\.(?!{ACTIVATIONS})[^.]+"
