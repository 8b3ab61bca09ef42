from pathlib import Path

import numpy as np
import pytest

from data.importers import esft
from data.importers.source import Options, dump_files
from tests.data.importers.research_dumps import (
    esft_line,
    read,
    read_files,
    survives,
    written,
)

OF_TWO = Options(num_experts=4, top_k=2)


def folder(path: Path, *, lines: int = 2) -> Path:
    """Layers 1 and 2; lines of two tokens with two experts each."""
    for layer in (1, 2):
        line = esft_line([layer, 0, 3, 2], [0.5, 0.25, 0.125, 0.5])
        written(path / f"expert_weights_{layer}.txt", line * lines)
    return path


def test_a_line_of_each_layer_is_one_sequence(tmp_path: Path) -> None:
    reading = read(esft, folder(tmp_path), OF_TWO)
    batch = reading.routing
    assert [layer.name for layer in reading.source.layers] == ["layers.1", "layers.2"]
    assert batch.doc_id_T.tolist() == [0, 0, 1, 1]
    assert batch.position_T.tolist() == [0, 1, 0, 1]
    assert batch.expert_ids_TLK[:2].tolist() == [[[1, 0], [2, 0]], [[3, 2], [3, 2]]]
    assert batch.weights_TLK[1, 0].tolist() == [0.125, 0.5]
    assert [one.origin for one in batch.documents] == [
        "expert_weights_1.txt:1",
        "expert_weights_1.txt:2",
    ]
    assert reading.source.weights_sum == "at most one"


def test_sequences_of_several_ranks_follow_each_other(tmp_path: Path) -> None:
    for rank in (0, 2, 10):
        folder(tmp_path / f"rank_{rank}", lines=1)
    origins = [one.origin for one in read(esft, tmp_path, OF_TWO).documents]
    assert origins == [f"rank_{rank}/expert_weights_1.txt:1" for rank in (0, 2, 10)]


def test_top_k_is_found_where_ids_make_it_certain(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = [random.permutation(16)[:3].tolist() for _ in range(400)]
    line = esft_line([one for token in ids for one in token], [0.1] * 1200)
    written(tmp_path / "expert_weights_1.txt", line)
    reading = read(esft, tmp_path, Options(num_experts=16))
    assert reading.source.layers[0].top_k == 3
    assert reading.routing.expert_ids_TLK[:, 0].tolist() == ids


def test_top_k_is_asked_for_where_few_ids_leave_it_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expert_weights_1\.txt .* give --top-k"):
        read(esft, folder(tmp_path), Options(num_experts=64))


def test_top_k_is_asked_for_where_a_single_repetition_would_halve_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = [random.permutation(64)[:6].tolist() for _ in range(400)]
    ids[7][4] = ids[7][0]
    line = esft_line([one for token in ids for one in token], [0.1] * 2400)
    written(tmp_path / "expert_weights_1.txt", line)
    with pytest.raises(ValueError, match="give --top-k"):
        read(esft, tmp_path, Options(num_experts=64))


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expert_weights_1\.txt .* give --num-experts"):
        read(esft, folder(tmp_path), Options(top_k=2))


@pytest.mark.parametrize(
    ("layer_2", "said"),
    [
        ("1\t2\t\t0.5\t0.5\n" * 2, r"expert_weights_2\.txt:1: 2 ids and 2 weights; 4 of each"),
        ("1\t2\t3\t0\t\t0.5\n" * 2, r"expert_weights_2\.txt:1: 4 ids and 1 weights; 4 of each"),
        ("1\t2\t3\t0\t\t0.1\t0.1\t0.1\t0.1\n", r"expert_weights_2\.txt ends before line 2"),
        ("1.5\t2\t3\t0\t\t0.1\t0.1\t0.1\t0.1\n" * 2, r"expert_weights_2\.txt:1: not a line of ids"),
        ("1\t2\t3\t0\t\t0.1\ttrue\t0.1\t0.1\n" * 2, r"expert_weights_2\.txt:1: not a line of ids"),
    ],
)
def test_a_layer_that_does_not_fit_the_others_is_named(
    tmp_path: Path, layer_2: str, said: str
) -> None:
    folder(tmp_path)
    written(tmp_path / "expert_weights_2.txt", layer_2)
    with pytest.raises(ValueError, match=said):
        read_files(esft, dump_files([tmp_path]), OF_TWO)


def test_ranks_of_other_layers_are_refused(tmp_path: Path) -> None:
    folder(tmp_path / "rank_0")
    folder(tmp_path / "rank_1")
    (tmp_path / "rank_1" / "expert_weights_2.txt").unlink()
    with pytest.raises(ValueError, match=r"the layers 1, 2, and rank_1/.* the layers 1;"):
        read(esft, tmp_path, OF_TWO)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "expert_weights_1.txt", esft_line([1, 0, 3, 2] * 60, [0.1] * 240))
    assert survives(esft, path) > 0
