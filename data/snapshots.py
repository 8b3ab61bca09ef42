"""Routing of a fixed sample at several training steps: one safetensors file, a key a step."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

STEP = "step_"  # then eight digits


def read_snapshots(path: Path) -> dict[int, np.ndarray]:
    """Expert ids [T, L, K] by training step, ascending; the last is the final one."""
    if not path.is_file():
        raise ValueError(f"{path} not found; it is written by `routescope train`")
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    steps = sorted(key for key in arrays if key.startswith(STEP))
    if not steps:
        raise ValueError(f"{path} holds no routing snapshots; found {sorted(arrays)}")
    return {int(key.removeprefix(STEP)): arrays[key] for key in steps}
