from pathlib import Path

import numpy as np
import pytest

from data.importers import arrays
from data.importers.source import DumpFile, Options
from tests.data.importers.engine_payloads import npy_bytes, read, routing

OPTIONS = Options(num_experts=8)


def array_file(path: Path, ids_TLK: np.ndarray, dtype: str = "<i2") -> DumpFile:
    path.write_bytes(npy_bytes(ids_TLK, dtype))
    return DumpFile(path, path.name)


def test_each_array_is_a_text(tmp_path: Path) -> None:
    files = [array_file(tmp_path / f"{n}.npy", routing(n)) for n in (3, 4)]
    source = arrays.source(files, OPTIONS)
    batches = read(source)
    assert [batch.documents[0].origin for batch in batches] == ["3.npy", "4.npy"]
    assert [len(batch.position_T) for batch in batches] == [3, 4]
    assert (batches[1].expert_ids_TLK == routing(4)).all()
    assert source.findings == ()


def test_a_long_array_comes_in_batches_and_its_text_with_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BATCH_CHOICES", 8)  # two rows
    file = array_file(tmp_path / "a.npy", routing(5), "u1")
    batches = read(arrays.source([file], OPTIONS))
    assert [batch.position_T.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert [len(batch.documents) for batch in batches] == [0, 0, 1]
    assert (np.concatenate([batch.expert_ids_TLK for batch in batches]) == routing(5)).all()


def test_arrays_are_recognized_by_their_content(tmp_path: Path) -> None:
    file = array_file(tmp_path / "a.bin", routing(2))
    assert arrays.recognizes(file, file.head())
    assert not arrays.recognizes(file, b"")


def test_an_array_of_other_numbers_or_shape_is_refused_with_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy_bytes(np.zeros((2, 2)), "<f4"))
    with pytest.raises(ValueError, match=r"a\.npy"):
        arrays.source([DumpFile(path, "a.npy")], OPTIONS)


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --num-experts"):
        arrays.source([array_file(tmp_path / "a.npy", routing(2))], Options())


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    file = array_file(tmp_path / "a.npy", routing(3))
    file.path.write_bytes(file.path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"a\.npy: 147 bytes, .* has 152"):
        arrays.source([file], OPTIONS)


def test_an_array_that_claims_10_to_the_12_rows_is_refused(tmp_path: Path) -> None:
    file = array_file(tmp_path / "a.npy", routing(3))
    claim = file.path.read_bytes().replace(b"(3, 2, 2), }          ", b"(999999999999, 2, 2), }")
    file.path.write_bytes(claim[:128] + claim[129:])
    with pytest.raises(ValueError, match=r"^a\.npy: "):
        arrays.source([file], OPTIONS)


def test_arrays_of_two_models_are_refused(tmp_path: Path) -> None:
    files = [array_file(tmp_path / f"{n}.npy", routing(2, layers=n)) for n in (2, 3)]
    with pytest.raises(ValueError, match=r"2\.npy has 2 layers .* 3\.npy 3 and 2"):
        arrays.source(files, OPTIONS)


def test_more_experts_a_token_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 2 experts a token, --num-experts is 1"):
        arrays.source([array_file(tmp_path / "a.npy", routing(2))], Options(num_experts=1))


def test_an_empty_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows"):
        arrays.source([array_file(tmp_path / "a.npy", routing(0))], OPTIONS)
