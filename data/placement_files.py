"""Files that say which expert lies in which place, as SGLang and vllm-ascend read them.

L = MoE layers, P = places (physical experts).
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.exports.layer_numbers import layer_numbers
from data.importers.reading.torch_file import Tensor, TorchFile
from data.importers.source import DumpFile
from data.inputs import require_file
from data.routing import MOST_PLACES, LayerDescription
from data.strict_json import read_object
from data.words import counted

KEY = "physical_to_logical_map"
DEVICES = "layer_list"


class Rows(NamedTuple):
    """As they stand in a file: a list of logical ids a layer."""

    ids: list[list[int]]
    devices: int | None  # None: the file does not say
    dense_too: bool  # it may have rows of dense layers


class PlacementFile(NamedTuple):
    experts_LP: np.ndarray
    devices: int | None


def read_placement(
    path: Path, layers: Sequence[LayerDescription], kept: Sequence[int] | None = None
) -> PlacementFile:
    """ValueError: it is none, or of another model. Rows of other layers are left out: dense ones,
    and others that the trace lacks, if it has only the MoE layers `kept`."""
    ids, devices, dense_too = read_rows(path)
    numbers = layer_numbers(layers) if dense_too else kept
    if numbers and max(numbers) < len(ids):
        ids = [ids[number] for number in numbers]
    if len(ids) != len(layers):
        raise ValueError(
            f"{path.name} has {counted(len(ids), 'layer', 'layers')}, the trace {len(layers)}; "
            "give the map of its model"
        )
    return PlacementFile(np.array(ids), devices)


def read_rows(path: Path) -> Rows:
    """Of either form. ValueError: it is neither, or its layers differ in their places."""
    require_file(path, what="map")
    value = _value(path)
    if KEY in value:
        rows = Rows(_lists(value[KEY], path), None, True)
    elif DEVICES in value:
        rows = _of_devices(value[DEVICES], path)
    else:
        raise ValueError(
            f"{path.name} has neither {KEY}, a list of logical ids for each layer, nor {DEVICES}, "
            "as vllm-ascend has them"
        )
    lengths = sorted({len(row) for row in rows.ids})
    if len(lengths) != 1:
        raise ValueError(
            f"{path.name} has rows of {lengths[0]} to {lengths[-1]} ids; rows are as long as there "
            "are physical experts"
        )
    wrong = next((one for row in rows.ids for one in row if type(one) is not int or one < 0), None)
    if wrong is not None or not 0 < lengths[0] <= MOST_PLACES:
        raise ValueError(
            f"{path.name}: a layer holds {wrong!r:.40} in {lengths[0]} places; logical ids count "
            "from 0"
        )
    return rows._replace(ids=[[min(one, MOST_PLACES) for one in row] for row in rows.ids])


def _value(path: Path) -> dict[str, object]:
    """A .pt as SGLang saves it, or JSON."""
    if path.suffix.lower() != ".pt":
        return read_object(path, remedy=f"give JSON with {KEY} or {DEVICES}")
    with closing(TorchFile(DumpFile(path, path.name))) as file:
        found = file.value.get(KEY) if isinstance(file.value, dict) else None
        if found is None:
            return {}
        return {KEY: found.read().tolist() if isinstance(found, Tensor) else found}


def _lists(value: object, path: Path) -> list[list[int]]:
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise ValueError(f"{path.name} has no {KEY}: a list of logical ids for each layer")
    return value


def _of_devices(value: object, path: Path) -> Rows:
    """Layers and devices by their ids; devices have equally many experts."""
    try:
        layers = sorted(value, key=lambda layer: layer["layer_id"])  # type: ignore[call-overload]
        held = [
            [
                list(device["device_expert"])
                for device in sorted(layer["device_list"], key=lambda device: device["device_id"])
            ]
            for layer in layers
        ]
        numbers = [layer["layer_id"] for layer in layers]
        devices = [sorted(one["device_id"] for one in layer["device_list"]) for layer in layers]
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{path.name}: {DEVICES} is not as vllm-ascend has it: layer_id, device_list with "
            "device_id and device_expert"
        ) from error
    if not any(devices for devices in held):
        raise ValueError(f"{path.name}: {DEVICES} names no layer, or no device of one")
    sizes = {(len(devices), len(device)) for devices in held for device in devices}
    if len(sizes) != 1:
        raise ValueError(
            f"{path.name}: devices hold different numbers of experts; each must hold as many as "
            "the others"
        )
    if any(ids != list(range(len(ids))) for ids in (numbers, *devices)):
        raise ValueError(
            f"{path.name}: layers, or the devices of a layer, are not numbered from 0 on, each once"
        )
    ids = [[one for device in devices for one in device] for devices in held]
    return Rows(ids, len(held[0]), False)
