"""Files of torch.save, read without torch."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from data.importers.reading.torch_file import Tensor, TorchFile
from tests.data.importers.engine_dumps import dump_file


def saved(path: Path, value: object) -> dict[str, Tensor]:
    torch.save(value, path)
    read = TorchFile(dump_file(path)).value
    assert isinstance(read, dict)
    return read


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float])
def test_a_tensor_is_read_as_it_was_saved(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.arange(6).view(2, 3).to(dtype)
    read = saved(tmp_path / "a.pt", {"x": tensor})["x"]
    assert read.shape == (2, 3)
    assert read.read().tolist() == tensor.tolist()
    assert read.narrow(1, 2).read().tolist() == [[3, 4, 5]]


def test_tensors_that_share_a_storage_read_their_own_part_of_it(tmp_path: Path) -> None:
    whole = torch.arange(24).view(2, 3, 4)
    read = saved(tmp_path / "a.pt", {"part": whole[:, 1:], "turned": whole.transpose(0, 2)})
    assert read["part"].storage.member is read["turned"].storage.member
    assert read["part"].read().tolist() == whole[:, 1:].tolist()
    assert read["turned"].read().tolist() == whole.transpose(0, 2).tolist()


def test_a_tensor_without_elements_is_empty(tmp_path: Path) -> None:
    assert saved(tmp_path / "a.pt", {"x": torch.zeros(2, 0, 8)})["x"].read().shape == (2, 0, 8)


def test_a_value_that_is_repeated_a_billion_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a tensor of shape \(1000000000,\) in a storage of 1 "):
        saved(tmp_path / "a.pt", {"x": torch.zeros(1).expand(1_000_000_000)})


def test_bfloat16_is_refused_when_it_is_read(tmp_path: Path) -> None:
    read = saved(tmp_path / "a.pt", {"x": torch.zeros(3, dtype=torch.bfloat16)})
    with pytest.raises(ValueError, match=r"^a.pt: tensor 0 is of bfloat16"):
        read["x"].read()


def test_a_module_is_code_and_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a.pt holds code \(torch.nn.modules.linear.Linear\)"):
        saved(tmp_path / "a.pt", {"x": torch.nn.Linear(1, 1)})


def test_the_form_before_torch_1_6_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": 1}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"^a.pt is not the zip that torch.save writes"):
        TorchFile(dump_file(path))


def test_a_compressed_zip_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(10_000_000))
    with pytest.raises(ValueError, match=r"^a.pt: 'a/data.pkl' is compressed"):
        TorchFile(dump_file(path))


def test_a_changed_byte_of_a_tensor_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": torch.full((4,), 77, dtype=torch.int64)}, path)
    data = path.read_bytes()
    at = data.index(np.full(4, 77).tobytes())
    path.write_bytes(data[:at] + b"\x4e" + data[at + 1 :])
    read = TorchFile(dump_file(path)).value
    assert isinstance(read, dict)
    with pytest.raises(ValueError, match=r"^a.pt is damaged: 'a/data/0' does not fit"):
        read["x"].read()


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"^a.pt is damaged: no directory"):
        TorchFile(dump_file(path))


def test_a_part_of_a_tensor_is_not_read_where_another_bit_flipped(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.arange(1_000, dtype=torch.int32)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(990, 1_000, dtype=np.int32).tobytes())] ^= 8
    path.write_bytes(data)
    file = TorchFile(dump_file(path))
    assert isinstance(file.value, dict)
    with pytest.raises(ValueError, match="does not fit its checksum"):
        file.value["a"].narrow(0, 10).read()
