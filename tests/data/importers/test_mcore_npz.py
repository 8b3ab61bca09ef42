"""Loads that a fork of Megatron-Core dumps as .npz."""

from pathlib import Path

import numpy as np
import pytest

from data.importers import mcore_npz
from data.importers.source import Meter
from tests.data.importers.engine_dumps import NO_OPTIONS, counts, dump_file, kinds, save_loads


def test_ranks_are_summed_and_a_forward_pass_is_a_document(tmp_path: Path) -> None:
    one = save_loads(tmp_path / "r0.npz", [[[1, 2], [0, 0]], [[3, 4], [0, 0]]])
    two = save_loads(tmp_path / "r1.npz", [[[10, 0], [0, 5]], [[0, 0], [6, 0]]], rank=1)
    assert mcore_npz.recognizes(one, one.head())
    source = mcore_npz.source([one, two], NO_OPTIONS)
    [batch] = counts(source)
    assert batch.tokens_NLE.tolist() == [[[11, 2], [3, 4]], [[0, 5], [6, 0]]]
    assert [document.origin for document in batch.documents] == ["r0.npz:pass 1", "r0.npz:pass 2"]
    assert [layer.name for layer in source.layers] == ["layers.1", "layers.2"]
    assert kinds(source) == {"counts-only": 2}


def test_layers_of_other_ranks_stand_beside_each_other(tmp_path: Path) -> None:
    one = save_loads(tmp_path / "r0.npz", [[[1, 2]]], layers=[5])
    two = save_loads(tmp_path / "r1.npz", [[[3, 4]]], layers=[2], rank=1)
    [batch] = counts(mcore_npz.source([one, two], NO_OPTIONS))
    assert batch.tokens_NLE.tolist() == [[[3, 4], [1, 2]]]


def test_rows_beyond_the_passes_of_a_layer_are_never_read(tmp_path: Path) -> None:
    unwritten = [[[1, 2], [-7, 99]], [[3, 4], [5, 6]]]  # layer 1 has one pass, layer 2 has two
    files = [
        save_loads(
            tmp_path / f"r{rank}.npz", unwritten, rank=rank, changes={"forward_counts": [1, 2]}
        )
        for rank in (0, 1)
    ]
    source = mcore_npz.source(files, NO_OPTIONS)
    [batch] = counts(source)
    assert batch.tokens_NLE.tolist() == [[[2, 4], [6, 8]], [[0, 0], [10, 12]]]
    assert kinds(source)["missing-passes"] == 1


def test_a_rank_of_the_group_without_a_file_is_missing(tmp_path: Path) -> None:
    source = mcore_npz.source([save_loads(tmp_path / "r0.npz", [[[1, 2]]] * 2)], NO_OPTIONS)
    assert kinds(source)["missing-passes"] == 1


def test_all_bytes_are_counted_as_read(tmp_path: Path) -> None:
    file = save_loads(tmp_path / "r0.npz", [[[1, 2]]] * 2)
    meter = Meter(file.size)
    list(mcore_npz.source([file], NO_OPTIONS).batches(meter))
    assert meter.done == file.size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loads": np.zeros((2, 1), np.int32)}, r"loads is int32 of shape \(2, 1\)"),
        ({"loads": np.zeros((2, 1, 2), np.float32)}, "no array of integers in C order"),
        ({"layer_numbers": [1]}, "loads of 2 layers, 1 layer_numbers"),
        ({"layer_numbers": [1, 1]}, "one for each layer is expected"),
        ({"layer_numbers": [1, -2]}, "layer_numbers is empty, or holds another number"),
        ({"forward_counts": [1, 9]}, "forward_counts up to 9, and loads of 1 forward passes"),
        ({"dump_version": "other"}, "has another dump_version"),
        ({"global_rank": [[0]]}, "global_rank is missing, or no list of integers"),
    ],
)
def test_an_array_that_is_wrong_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = save_loads(tmp_path / "a.npz", [[[1, 2]]] * 2, changes=change)
    with pytest.raises(ValueError, match=f"^a.npz.*{message}") as refusal:
        counts(mcore_npz.source([file], NO_OPTIONS))
    assert "\n" not in str(refusal.value)


def test_negative_loads_are_refused(tmp_path: Path) -> None:
    file = save_loads(tmp_path / "a.npz", [[[1, -2]]] * 2)
    with pytest.raises(ValueError, match=r"^a.npz: loads of layer 1 are -2 to 1"):
        counts(mcore_npz.source([file], NO_OPTIONS))


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, loads=np.zeros((1, 1_000, 1_000), np.int32))
    with pytest.raises(ValueError, match=r"^a.npz: 'loads.npy' is compressed"):
        mcore_npz.source([dump_file(path)], NO_OPTIONS)


def test_a_rank_twice_is_refused_by_name(tmp_path: Path) -> None:
    one, two = (save_loads(tmp_path / name, [[[1, 2]]] * 2) for name in ("a.npz", "b.npz"))
    with pytest.raises(ValueError, match=r"^a.npz and b.npz are both of rank 0"):
        mcore_npz.source([one, two], NO_OPTIONS)


def test_a_bit_that_flipped_is_seen_by_the_checksum(tmp_path: Path) -> None:
    dumped = save_loads(tmp_path / "a.npz", [[[3, 1, 0, 4], [2, 2, 2, 2]]] * 2)
    data = bytearray(dumped.path.read_bytes())
    place = data.index(np.array([3, 1, 0, 4], np.int32).tobytes())
    data[place] ^= 8
    dumped.path.write_bytes(data)
    with pytest.raises(ValueError, match="does not fit its checksum"):
        mcore_npz.source([dumped], NO_OPTIONS)
