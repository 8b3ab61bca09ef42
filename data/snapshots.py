"""Routing of a fixed sample at several training steps: one safetensors file, a key a step."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file


def read_snapshots(path: Path) -> dict[int, np.ndarray]:
    """Expert ids [T, L, K] by training step, ascending."""
    if not path.is_file():
        raise ValueError(f"{path} not found; it is written by `routescope train`")
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    steps = {int(key.removeprefix("step_")): ids_TLK for key, ids_TLK in arrays.items()}
    return dict(sorted(steps.items()))
