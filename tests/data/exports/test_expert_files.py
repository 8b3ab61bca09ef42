"""Files that describe experts: SGLang, vllm-ascend, llmcompressor, ESFT, EPLB."""

import io
from pathlib import Path

import numpy as np
import pytest

from data.exports import eplb, esft
from data.exports.expert_location import expert_counts, expert_location
from data.exports.expert_map import expert_map
from data.exports.keep_list import keep_list
from data.exports.layer_numbers import layer_numbers
from data.exports.new_file import new_file
from tests.routing_batches import layer

LAYERS = (layer("model.layers.1.mlp", 4), layer("model.layers.3.mlp", 4))  # 0 and 2 are dense
UNEVEN = (layer("layers.0", 4), layer("layers.1", 6))
TOKENS_LE = np.array([[5, 8, 3, 0], [4, 4, 4, 4]])


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["model.layers.3.mlp", "model.layers.4.mlp"], [3, 4]),
        (["layers.3", "layers.17"], [3, 17]),
        (["layer 0", "layer 1"], [0, 1]),
        (["h.2.block4.moe", "h.5.block4.moe"], [2, 5]),
        (["encoder.layers.0.ffn", "decoder.layers.0.ffn"], [0, 1]),  # two of one number
        (["layers.4", "head"], [0, 1]),
    ],
)
def test_a_layer_has_the_number_of_the_model(names: list[str], numbers: list[int]) -> None:
    assert layer_numbers([layer(name, 4) for name in names]) == numbers


def test_sglang_finds_every_expert_once_in_every_layer_of_the_model() -> None:
    assert expert_location(LAYERS) == {"physical_to_logical_map": [[0, 1, 2, 3]] * 4}


def test_sglang_counts_nothing_in_dense_layers() -> None:
    none = [0, 0, 0, 0]
    counts = expert_counts(LAYERS, TOKENS_LE)
    assert counts == {"logical_count": [none, [5, 8, 3, 0], none, [4, 4, 4, 4]]}


def test_vllm_ascend_counts_layers_with_experts_alone() -> None:
    devices = [
        {"device_id": 0, "device_expert": [0, 1]},
        {"device_id": 1, "device_expert": [2, 3]},
    ]
    assert expert_map(LAYERS, 2) == {
        "moe_layer_count": 2,
        "layer_list": [
            {"layer_id": 0, "device_count": 2, "device_list": devices},
            {"layer_id": 1, "device_count": 2, "device_list": devices},
        ],
    }


def test_experts_that_do_not_spread_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="4 experts do not spread evenly over 3 devices; give a n"):
        expert_map(LAYERS, 3)


def test_the_busiest_are_kept_and_of_equal_ones_the_first() -> None:
    assert keep_list(LAYERS, TOKENS_LE, 2) == {"1": [0, 1], "3": [0, 1]}
    assert keep_list(LAYERS, TOKENS_LE[:, ::-1], 2) == {"1": [2, 3], "3": [0, 1]}


def test_no_more_are_kept_than_the_smallest_layer_has() -> None:
    tokens_LE = np.ones((2, 6))
    assert keep_list(UNEVEN, tokens_LE, 4) == {"0": [0, 1, 2, 3], "1": [0, 1, 2, 3]}
    with pytest.raises(ValueError, match=r"layers.0 has 4 experts and cannot keep 5; give 1 to 4"):
        keep_list(UNEVEN, tokens_LE, 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: expert_location(UNEVEN),
        lambda: expert_counts(UNEVEN, np.ones((2, 6))),
        lambda: expert_map(UNEVEN, 2),
        lambda: eplb.weight(UNEVEN, np.ones((2, 6))),
    ],
)
def test_layers_of_different_sizes_are_refused_where_a_file_has_one_number(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"layers.0 has 4 experts and layers.1 6; .* takes the sa"):
        make()


def test_esft_trains_what_was_selected_and_nothing_else() -> None:
    assert esft.expert_config(LAYERS, [np.array([1, 0]), np.array([3])]) == {
        "experts": {"1": [1, 0], "3": [3]},
        "shared_experts": False,
        "non_expert_modules": False,
    }


def test_scores_are_by_layer_and_expert_without_places_that_are_none() -> None:
    score_LE = np.array([[0.25] * 4 + [np.nan] * 2, [0.5, 0.5, 0, 0, 0, 0]])
    table = esft.score_table(UNEVEN, score_LE)
    assert table["0"] == {"0": 0.25, "1": 0.25, "2": 0.25, "3": 0.25}
    assert list(table["1"]) == ["0", "1", "2", "3", "4", "5"]


def test_eplb_reads_whole_numbers() -> None:
    loaded = np.load(io.BytesIO(eplb.npy(eplb.weight(LAYERS, TOKENS_LE))), allow_pickle=False)
    assert loaded.dtype == np.int64
    assert loaded.tolist() == [[5, 8, 3, 0], [4, 4, 4, 4]]


def test_a_file_that_fails_is_none(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_half(tmp_path / "below" / "a.json")
    assert list((tmp_path / "below").iterdir()) == []


def write_half(path: Path) -> None:
    with new_file(path) as file:
        file.write(b"half")
        raise KeyError


def test_a_file_that_exists_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"exists; delete it"), new_file(path):
        pass
    assert path.read_text() == "mine"
