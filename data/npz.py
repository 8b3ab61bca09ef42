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
                _require_shape(path, file, f"{name}.npy", shape)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in shapes}
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_shape(path: Path, name: str) -> tuple[int, ...]:
    """Of one array, of which nothing is read."""
    try:
        with zipfile.ZipFile(path) as file:
            return _header(path, file, f"{name}.npy")[0]
    except (*DAMAGED, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _require_shape(path: Path, file: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> None:
    given, dtype = _header(path, file, name)
    if given != shape or dtype.kind not in KINDS or dtype.itemsize > 1_024:
        raise ValueError(f"{path} has {name} of shape {given}, not {shape}")


def _header(path: Path, file: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with file.open(name) as opened:
        if np.lib.format.read_magic(opened) != (1, 0):
            raise ValueError(f"{path} has another format of {name}")
        given, _, dtype = np.lib.format.read_array_header_1_0(opened)
    return given, dtype
