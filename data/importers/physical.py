"""A map of physical to logical experts that a user gives: data/placement_files.py.

L = MoE layers, P = physical experts.
"""

from pathlib import Path

import numpy as np

from data.importers.source import Options, Source
from data.placement_files import read_rows
from data.words import counted


def with_given_map(source: Source, options: Options) -> np.ndarray | None:
    """The map of a source's ids. ValueError: the one given is none, or not that of the files."""
    own_LP = source.physical_map_LP
    if options.physical_map is None:
        return own_LP
    return _unless_same(_given(source, options, own_LP))


def _unless_same(map_LP: np.ndarray) -> np.ndarray | None:
    """None: every place is the expert of its number, so that ids are logical."""
    return None if (map_LP == np.arange(map_LP.shape[1])).all() else map_LP


def _given(source: Source, options: Options, own_LP: np.ndarray | None) -> np.ndarray:
    assert options.physical_map is not None
    given_LP = read_map(options.physical_map, len(source.layers))
    if own_LP is not None and not np.array_equal(own_LP, given_LP):
        raise ValueError(
            f"{options.physical_map.name} is another map than the one in the files; leave "
            "--physical-map out"
        )
    for layer, map_P in zip(source.layers, given_LP, strict=True):
        if map_P.max() >= layer.num_experts:
            raise ValueError(
                f"{options.physical_map.name}: {layer.name} has expert {map_P.max()}, and "
                f"{layer.num_experts} experts were given; correct --num-experts"
            )
    return given_LP


def read_map(path: Path, num_layers: int) -> np.ndarray:
    rows = read_rows(path).ids
    if len(rows) != num_layers:
        raise ValueError(
            f"{path.name} has {counted(len(rows), 'row', 'rows')}, the files "
            f"{counted(num_layers, 'layer', 'layers')}; a row is a layer"
        )
    return np.minimum(np.array(rows, np.int64), 2**15 - 1).astype(np.int16)
