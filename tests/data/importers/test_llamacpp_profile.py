import json
from pathlib import Path

import pytest

from data.importers import llamacpp_profile
from data.importers.source import Options
from tests.data.importers.research_dumps import read, survives, written

NAMES = ("total_tokens", "activation_counts", "avg_gate_weight")


def profile(*layers: tuple[object, object, object]) -> str:
    """Layers 1, 2, ...: tokens, counts, mean weights."""
    return json.dumps(
        {
            str(number): {
                name: value for name, value in zip(NAMES, layer, strict=True) if value is not None
            }
            for number, layer in enumerate(layers, start=1)
        }
    )


TWO = profile((4, [3, 4, 1], [0.5, 0.25, 0.75]), (4, [0, 4, 4], [0, 0.5, 0.5]))


def test_counts_and_weights_are_sums(tmp_path: Path) -> None:
    reading = read(llamacpp_profile, written(tmp_path / "a.json", TWO), Options())
    assert [layer.name for layer in reading.source.layers] == ["layers.1", "layers.2"]
    assert reading.counts.tokens_NLE.tolist() == [[[3, 4, 1], [0, 4, 4]]]
    assert reading.counts.weight_sum_NLE is not None
    assert reading.counts.weight_sum_NLE.tolist() == [[[1.5, 1.0, 0.75], [0, 2.0, 2.0]]]
    assert reading.findings == {"counts-only": 1}


def test_choices_per_token_follow_from_the_number_of_tokens(tmp_path: Path) -> None:
    content = profile((4, [3, 4, 1], None), (4, [0, 4, 3], None))  # 8 / 4, 7 / 4
    reading = read(llamacpp_profile, written(tmp_path / "a.json", content), Options())
    assert [layer.top_k for layer in reading.source.layers] == [2, None]
    assert reading.counts.weight_sum_NLE is None


def test_places_beyond_the_experts_are_left_out(tmp_path: Path) -> None:
    content = profile((4, [3, 4, 1, 0, 0], None), (4, [0, 4, 4, 0, 0], None))
    path = written(tmp_path / "a.json", content)
    reading = read(llamacpp_profile, path, Options(num_experts=3))
    assert reading.counts.tokens_NLE.shape == (1, 2, 3)
    assert reading.findings == {"counts-only": 1, "idle-experts": 4}
    with pytest.raises(ValueError, match="5 places, of which those from 3 on count nothing; give"):
        read(llamacpp_profile, path, Options())


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([(4, [1, 2], None), (4, [1, 2, 3], None)], "activation_counts has 2 to 3 places"),
        ([(4, [1, -2], None)], "layer 1, activation_counts, holds a number below 0"),
        ([(4, [1, 2.0], None)], "layer 1, activation_counts, is no list of 2 whole numbers"),
        ([(4, [1, True], None)], "layer 1, activation_counts, is no list of 2 whole numbers"),
        ([(4, [1, 2], [float("nan"), 1])], "layer 1, avg_gate_weight, holds a number below 0"),
        ([(4, [1, 2], [1])], "layer 1, avg_gate_weight, is no list of 2 numbers"),
        ([(4, None, None)], "layer 1 has no list activation_counts"),
        ([(4, [], None)], "0 to 0 places"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, layers: list[tuple[object, object, object]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(llamacpp_profile, written(tmp_path / "a.json", profile(*layers)), Options())


def test_more_experts_than_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 places, and --num-experts is 8"):
        read(llamacpp_profile, written(tmp_path / "a.json", TWO), Options(num_experts=8))


def test_files_of_other_layers_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.json", TWO)
    written(tmp_path / "b.json", profile((4, [3, 4, 1], None)))
    with pytest.raises(ValueError, match=r"b\.json has 1 layer, and all files together 2"):
        read(llamacpp_profile, tmp_path, Options())


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", profile((4, [3, 4, 1, 8], None)))
    assert survives(llamacpp_profile, path) > 0
