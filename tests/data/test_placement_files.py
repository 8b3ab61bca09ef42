"""Maps of experts in the files of SGLang and vllm-ascend, there and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.exports.expert_location import expert_location
from data.exports.expert_map import expert_map
from data.importers.importing import Dump
from data.importers.source import Options
from data.placement_files import read_placement
from data.routing import RoutingBatch
from tests.data.importers.engine_dumps import save_records, token_record
from tests.routing_batches import layer

LAYERS = (layer("model.layers.1.mlp", 3), layer("model.layers.3.mlp", 3))  # 0 and 2 are dense
EXPERTS_LP = np.array([[2, 0, 1, 2], [1, 1, 0, 2]])


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_sglangs_map_is_read_back_without_its_dense_layers(tmp_path: Path) -> None:
    value = expert_location(LAYERS, EXPERTS_LP)
    assert value["physical_to_logical_map"][0] == [0, 1, 2, 0]  # dense: never looked up
    found = read_placement(written(tmp_path / "a.json", value), LAYERS)
    assert found.experts_LP.tolist() == EXPERTS_LP.tolist()
    assert found.devices is None


def test_vllm_ascends_map_is_read_back_with_its_devices(tmp_path: Path) -> None:
    value = expert_map(LAYERS, 2, EXPERTS_LP)
    found = read_placement(written(tmp_path / "a.json", value), LAYERS)
    assert found.experts_LP.tolist() == EXPERTS_LP.tolist()
    assert found.devices == 2


def test_devices_and_layers_are_read_by_their_numbers(tmp_path: Path) -> None:
    value = json.loads(json.dumps(expert_map(LAYERS, 2, EXPERTS_LP)))
    value["layer_list"].reverse()
    value["layer_list"][0]["device_list"].reverse()
    found = read_placement(written(tmp_path / "a.json", value), LAYERS)
    assert found.experts_LP.tolist() == EXPERTS_LP.tolist()


def test_a_map_of_moe_layers_alone_and_one_of_torch_are_read_too(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"physical_to_logical_map": EXPERTS_LP.tolist()})
    assert read_placement(path, LAYERS).experts_LP.tolist() == EXPERTS_LP.tolist()
    rows = torch.tensor(expert_location(LAYERS, EXPERTS_LP)["physical_to_logical_map"])
    torch.save({"physical_to_logical_map": rows}, tmp_path / "a.pt")
    assert read_placement(tmp_path / "a.pt", LAYERS).experts_LP.tolist() == EXPERTS_LP.tolist()


def test_of_the_models_own_map_the_layers_that_a_trace_kept_are_read(tmp_path: Path) -> None:
    whole = tuple(layer(f"model.layers.{number}.mlp", 3) for number in range(1, 6))
    experts_LP = np.arange(15).reshape(5, 3) % 3
    experts_LP[2], experts_LP[3] = [2, 0, 1], [1, 2, 0]
    kept = whole[2:4]
    for value in (expert_location(whole, experts_LP), expert_map(whole, 3, experts_LP)):
        found = read_placement(written(tmp_path / "a.json", value), kept, (2, 3))
        assert found.experts_LP.tolist() == [[2, 0, 1], [1, 2, 0]]


def devices(*numbers: int) -> dict[str, object]:
    held = [{"device_id": number, "device_expert": [0]} for number in numbers]
    return {"layer_list": [{"layer_id": 0, "device_list": held}]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (devices(3, 3), "devices of a layer, are not numbered from 0 on, each once"),
        (devices(0, 2), "devices of a layer, are not numbered from 0 on, each once"),
        ({}, r"a\.json has neither physical_to_logical_map, .*, nor layer_list"),
        ({"physical_to_logical_map": 3}, "has no physical_to_logical_map: a list"),
        ({"physical_to_logical_map": [[0], [0, 1]]}, "has rows of 1 to 2 ids"),
        ({"physical_to_logical_map": [[0, -1]] * 2}, "holds -1 in 2 places"),
        ({"physical_to_logical_map": [[0, 1.5]] * 2}, "holds 1.5 in 2 places"),
        ({"physical_to_logical_map": [[]] * 2}, "in 0 places"),
        ({"physical_to_logical_map": [[0]] * 3}, "has 3 layers, the trace 2"),
        ({"layer_list": [1]}, "layer_list is not as vllm-ascend has it"),
        ({"layer_list": []}, "layer_list names no layer"),
        (
            {
                "layer_list": [
                    {
                        "layer_id": 0,
                        "device_list": [
                            {"device_id": 0, "device_expert": [0]},
                            {"device_id": 1, "device_expert": [0, 1]},
                        ],
                    }
                ]
            },
            "devices hold different numbers",
        ),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_placement(written(tmp_path / "a.json", value), LAYERS)


@pytest.mark.parametrize("form", ["sglang", "vllm-ascend"])
def test_a_dump_of_physical_ids_is_imported_by_the_map_that_was_written(
    tmp_path: Path, form: str
) -> None:
    """SGLang records places; both layers of the dump are MoE layers."""
    layers = (layer("model.layers.0.mlp", 3), layer("model.layers.1.mlp", 3))
    value = expert_location(layers, EXPERTS_LP)
    path = written(
        tmp_path / "a.json", value if form == "sglang" else expert_map(layers, 2, EXPERTS_LP)
    )
    places_TLK = [[[0, 1], [2, 3]], [[3, 2], [0, 3]], [[1, 3], [1, 2]]]
    record = token_record(
        1, places_TLK, token_ids=[5, 6, 7], positions=[0, 1, 2], lengths=[3], mode=1
    )
    save_records(tmp_path / "dump.pt", [record], None)
    given = Dump([tmp_path / "dump.pt"], Options(num_experts=3, physical_map=path))
    [batch] = list(given)
    assert isinstance(batch, RoutingBatch)
    logical = [[[2, 0], [0, 2]], [[2, 1], [1, 2]], [[0, 2], [1, 0]]]
    assert batch.expert_ids_TLK[..., :2].tolist() == logical
