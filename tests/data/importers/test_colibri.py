from pathlib import Path

import pytest

from data.importers import colibri
from data.importers.source import Options
from tests.data.importers.research_dumps import read, survives, written

# A call is one layer: of two tokens, then of one, then of one.
TRACE = """\
0 0 3 0:0.5000 1:0.2500
0 1 3 2:0.7500 3:0.1250
1 0 4 3:0.5000 2:0.2500
1 1 4 1:0.5000 0:0.2500
2 0 3 1:0.5000 3:0.2500
3 0 4 0:0.5000 2:0.2500
"""
USAGE = "-1 5 4\n-2 1 1\n3 0 7\n3 2 1\n4 3 8\n"


def test_calls_of_layers_are_passes_of_texts(tmp_path: Path) -> None:
    reading = read(colibri, written(tmp_path / "trace.txt", TRACE))
    batch = reading.routing
    assert [layer.name for layer in reading.source.layers] == ["layers.3", "layers.4"]
    assert batch.doc_id_T.tolist() == [0, 0, 0]
    assert batch.position_T.tolist() == [0, 1, 2]
    assert batch.phase_T.tolist() == [0, 0, 1]
    assert batch.expert_ids_TLK[1].tolist() == [[2, 3], [1, 0]]
    assert batch.weights_TLK[1].tolist() == [[0.75, 0.125], [0.5, 0.25]]
    assert reading.findings == {"inferred-texts": 1}


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trace\.txt .* give --num-experts"):
        read(colibri, written(tmp_path / "trace.txt", TRACE), Options())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2 0 3 1:0.5000 3:0.2500", "2 0 3 1:0.5000", r"trace\.txt:5: 1 experts where 2"),
        ("2 0 3 1:0.5000", "2 0 3 1.5:0.5000", r"trace\.txt:5: '2 0 3 1\.5:0\.5000 3:0\.2500'"),
        ("2 0 3 1", "2 1 3 1", "call 2, layer 3, has row 1 where it does not follow"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = written(tmp_path / "trace.txt", TRACE.replace(old, new))
    with pytest.raises(ValueError, match=said):
        read(colibri, path)


def test_usage_is_counts_of_each_file(tmp_path: Path) -> None:
    reading = read(colibri, written(tmp_path / "a.coli_usage", USAGE), Options())
    assert reading.source.counts_only
    assert [layer.name for layer in reading.source.layers] == ["layers.3", "layers.4"]
    assert reading.counts.tokens_NLE.tolist() == [[[7, 0, 1, 0], [0, 0, 0, 8]]]
    assert reading.findings == {"counts-only": 1}


def test_usage_names_the_engine_that_wrote_it(tmp_path: Path) -> None:
    olmoe = 2_166_136_261
    for byte in b"olmoe":
        olmoe = (olmoe ^ byte) * 16_777_619 % 2**32
    usage = USAGE.replace("-2 1 1", f"-2 1 {olmoe}")
    reading = read(colibri, written(tmp_path / "a.coli_usage", usage), Options())
    assert reading.source.config == {"engine_id": olmoe, "engine": "olmoe"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("4 3 8", "4 4 8", r"a\.coli_usage:5: expert 4 of layer 4, of 4 experts"),
        ("4 3 8", "9 3 8", r"a\.coli_usage:5: expert 3 of layer 9, .* layers to 5"),
        ("4 3 8", "3 0 8", r"a\.coli_usage:5: expert 0 of layer 3 stands there before"),
        ("-2 1 1", "-2 2 1", r"a\.coli_usage:2: version 2, and 1 is expected"),
        ("-1 5 4", "-1 5 9999999", "says 5 layers of 9,999,999 experts"),
        ("-1 5 4\n", "", "give --num-experts"),
    ],
)
def test_usage_that_does_not_fit_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = written(tmp_path / "a.coli_usage", USAGE.replace(old, new))
    with pytest.raises(ValueError, match=said):
        read(colibri, path, Options())


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    assert survives(colibri, written(tmp_path / "trace.txt", TRACE)) > 0
    assert survives(colibri, written(tmp_path / "a.coli_usage", USAGE)) > 0
