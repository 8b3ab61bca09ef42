import json
from pathlib import Path

import numpy as np
import pytest

from data.importers import olmoe
from data.importers.source import Options
from tests.data.importers.research_dumps import read, survives, written

# Three tokens, two experts each, two layers: exp_ids[token][choice][layer].
BLOCK = {
    "input_ids": [11, 12, 13],
    "predicted_token_ids": [12, 13, 14],
    "exp_ids": [[[0, 3], [1, 2]], [[2, 1], [3, 0]], [[1, 1], [0, 2]]],
}


def lines(*blocks: object) -> str:
    return "".join(json.dumps(block) + "\n" for block in blocks)


def test_the_last_axis_of_exp_ids_is_the_layer(tmp_path: Path) -> None:
    reading = read(olmoe, written(tmp_path / "a.jsonl", lines(BLOCK)))
    assert len(reading.source.layers) == 2
    assert reading.source.layers[0].top_k == 2
    first_token_LK = reading.routing.expert_ids_TLK[0]
    assert first_token_LK.tolist() == [[0, 1], [3, 2]]
    assert np.isnan(reading.routing.weights_TLK).all()


def test_a_line_is_a_document(tmp_path: Path) -> None:
    reading = read(olmoe, written(tmp_path / "a.jsonl", lines(BLOCK, BLOCK)))
    assert reading.routing.doc_id_T.tolist() == [0, 0, 0, 1, 1, 1]
    assert reading.routing.position_T.tolist() == [0, 1, 2, 0, 1, 2]
    assert reading.routing.token_id_T.tolist() == [11, 12, 13] * 2
    assert [one.origin for one in reading.documents] == ["a.jsonl:1", "a.jsonl:2"]


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jsonl .* give --num-experts"):
        read(olmoe, written(tmp_path / "a.jsonl", lines(BLOCK)), Options())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"input_ids": [11, 12]}, r"a\.jsonl:2: exp_ids has the shape \(3, 2, 2\), and input_ids"),
        ({"input_ids": [11, 12, -1]}, r"a\.jsonl:2: token ids from -1 to 12"),
        ({"exp_ids": [[[0], [1]]] * 3}, r"a\.jsonl:2: exp_ids of 1 layers and 2 experts"),
        ({"exp_ids": [[[0, True], [1, 2]]] * 3}, r"a\.jsonl:2: exp_ids holds something else"),
        ({"exp_ids": [[[0, 1.0], [1, 2]]] * 3}, r"a\.jsonl:2: exp_ids holds something else"),
        ({"exp_ids": [[[0, 1], [1]]] * 3}, r"a\.jsonl:2: exp_ids is not a list of 3 dimensions"),
        ({"exp_ids": [[[0, 10**30], [1, 2]]] * 3}, r"a\.jsonl:2: exp_ids holds a number of more"),
        ({"exp_ids": None}, r"a\.jsonl:2: exp_ids is not a list of 3 dimensions"),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    path = written(tmp_path / "a.jsonl", lines(BLOCK, BLOCK | changed))
    with pytest.raises(ValueError, match=said):
        read(olmoe, path)


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", lines(BLOCK) + '{"exp_ids": ' + "[" * 100_000 + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:2: JSON nested too deeply"):
        read(olmoe, path)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    assert survives(olmoe, written(tmp_path / "a.jsonl", lines(BLOCK, BLOCK))) > 0
