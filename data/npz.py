"""Arrays of a .npz file, whose sizes are compared before any is read."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

KINDS = "biufU"  # of numbers, and text
# As zipfile tells of damage; the last two of a compression or encryption that numpy never writes.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Exactly those of `shapes`; a file may be compressed to a thousandth of what it claims."""
    try:
        with zipfile.ZipFile(path) as file:
            if {f"{name}.npy" for name in shapes} != set(file.namelist()):
                raise ValueError(f"{path} holds other arrays than {', '.join(shapes)}")
            for name, shape in shapes.items():
                _require_shape(path, file.getinfo(f"{name}.npy"), file, shape)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in shapes}
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _require_shape(
    path: Path, member: zipfile.ZipInfo, file: zipfile.ZipFile, shape: tuple[int, ...]
) -> None:
    with file.open(member) as opened:
        if np.lib.format.read_magic(opened) != (1, 0):
            raise ValueError(f"{path} has another format of {member.filename}")
        given, _, dtype = np.lib.format.read_array_header_1_0(opened)
    if given != shape or dtype.kind not in KINDS or dtype.itemsize > 1_024:
        raise ValueError(f"{path} has {member.filename} of shape {given}, not {shape}")
