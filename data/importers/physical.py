"""A map of physical to logical experts that a user gives, as SGLang reads and writes them.

L = MoE layers, P = physical experts.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from data.importers.reading.torch_file import Tensor, TorchFile
from data.importers.source import DumpFile, Options, Source
from data.inputs import require_file
from data.strict_json import read_object

KEY = "physical_to_logical_map"
MOST_PLACES = 2**15  # physical experts of a layer


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


def _rows(path: Path) -> object:
    """What the file has under KEY, as lists: a .pt as SGLang saves it, or JSON."""
    if path.suffix.lower() == ".pt":
        with closing(TorchFile(DumpFile(path, path.name))) as file:
            found = file.value.get(KEY) if isinstance(file.value, dict) else None
            return found.read().tolist() if isinstance(found, Tensor) else found
    remedy = f"give JSON with {KEY}: a list of logical ids a layer"
    return read_object(path, remedy=remedy).get(KEY)


def read_map(path: Path, num_layers: int) -> np.ndarray:
    require_file(path, what="map")
    rows = _rows(path)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError(f"{path.name} has no {KEY}: a list of logical ids for each layer")
    if len(rows) != num_layers or len({len(row) for row in rows}) != 1:
        raise ValueError(
            f"{path.name}: {KEY} has {len(rows)} rows, the files {num_layers} layers; rows are as "
            "long as there are physical experts"
        )
    wrong = next((one for row in rows for one in row if type(one) is not int or one < 0), None)
    if wrong is not None or not 0 < len(rows[0]) <= MOST_PLACES:
        raise ValueError(
            f"{path.name}: {KEY} holds {wrong!r:.40} in rows of {len(rows[0])}; logical ids count "
            "from 0"
        )
    return np.minimum(np.array(rows, np.int64), 2**15 - 1).astype(np.int16)
