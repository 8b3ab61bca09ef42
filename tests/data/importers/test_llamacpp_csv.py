from pathlib import Path

import pytest

from data.importers import llamacpp_csv
from data.importers.source import Options
from tests.data.importers.research_dumps import read, survives, written

TRACE = "layer,expert\n1,0\n1,3\n2,2\n2,2\n1,0\n"
PROFILE = "layer,expert,count,frac_of_layer\n0,0,3,0.75\n0,1,1,0.25\n2,0,0,0\n2,1,4,1\n"


@pytest.mark.parametrize("content", [TRACE, TRACE.removeprefix("layer,expert\n")])
def test_choices_are_counted(tmp_path: Path, content: str) -> None:
    reading = read(llamacpp_csv, written(tmp_path / "a.csv", content))
    assert [layer.name for layer in reading.source.layers] == ["layers.1", "layers.2"]
    assert reading.counts.tokens_NLE.tolist() == [[[2, 0, 0, 1], [0, 0, 2, 0]]]
    assert reading.source.counts_only
    assert reading.findings == {"counts-only": 1}


def test_a_profile_lists_all_experts_so_that_their_number_is_known(tmp_path: Path) -> None:
    reading = read(llamacpp_csv, written(tmp_path / "a.csv", PROFILE), Options())
    assert reading.counts.tokens_NLE.tolist() == [[[3, 1], [0, 4]]]


def test_every_file_is_a_document(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        written(tmp_path / name, PROFILE)
    reading = read(llamacpp_csv, tmp_path)
    assert [one.origin for one in reading.documents] == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TRACE, r"a\.csv does not say how many experts a layer has; give --num-experts"),
        (TRACE + "1,-1\n", r"a\.csv:7: '1,-1' where 'layer,expert' in numbers is expected"),
        (TRACE + "1,2.0\n", r"a\.csv:7: '1,2\.0' where"),
        (TRACE + "1\n", r"a\.csv:7: '1' where"),
        (PROFILE + "2,1,4,1\n", r"a\.csv: expert 1 of layer 2 stands there twice"),
        (PROFILE + "3,0,4,nan\n", r"a\.csv:6: '3,0,4,nan' where"),
        ("layer,expert\n", r"a\.csv has no line of 'layer,expert'"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(llamacpp_csv, written(tmp_path / "a.csv", content), Options())


def test_an_expert_beyond_the_given_number_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", TRACE)
    with pytest.raises(ValueError, match=r"a\.csv names expert 3 in layer 1, of 3"):
        read(llamacpp_csv, path, Options(num_experts=3))


def test_a_line_of_a_million_columns_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "layer,expert\n" + "1," * 1_000_000 + "1\n")
    with pytest.raises(ValueError, match=r"a\.csv:2: '1,1,.*' where 'layer,expert'"):
        read(llamacpp_csv, path)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    for content in (TRACE, PROFILE):
        assert survives(llamacpp_csv, written(tmp_path / "a.csv", content)) > 0
