"""SGLang's older recorder: counts as CSV."""

from pathlib import Path

import pytest

from data.importers import sglang_csv
from data.importers.source import DumpFile, Meter, Options
from tests.data.importers.engine_dumps import NO_OPTIONS, counts, dump_file, kinds

FOUR = Options(num_experts=4)


def saved(path: Path, *lines: str, header: str = "layer_id,expert_id,count") -> DumpFile:
    path.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
    return dump_file(path)


def test_a_file_is_a_document_and_experts_without_a_line_have_none(tmp_path: Path) -> None:
    one = saved(tmp_path / "expert_distribution_rank0_timestamp1.csv", "3,0,5", "3,2,7", "5,1,1")
    two = saved(tmp_path / "expert_distribution_rank1_timestamp1.csv", "5,3,2")
    source = sglang_csv.source([one, two], FOUR)
    assert [layer.name for layer in source.layers] == ["layers.3", "layers.5"]
    batches = counts(source)
    assert [batch.tokens_NLE.tolist() for batch in batches] == [
        [[[5, 0, 7, 0], [0, 1, 0, 0]]],
        [[[0, 0, 0, 0], [0, 0, 0, 2]]],
    ]
    assert [batch.documents[0].origin for batch in batches] == [one.name, two.name]
    assert kinds(source) == {"counts-only": 2}


def test_its_header_is_recognized_and_no_other(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.csv", "0,0,1")
    assert sglang_csv.recognizes(file, file.head())
    assert not sglang_csv.recognizes(file, b"layer,expert,count\n0,0,1\n")


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a.csv does not say .*; give --num-experts$"):
        sglang_csv.source([saved(tmp_path / "a.csv", "0,0,1")], NO_OPTIONS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,1", "^a.csv:3: '0,1' where a line of layer, expert and count is expected"),
        ("-1,1,1", "^a.csv:3: '-1,1,1' where"),
        ("0,1,nan", "^a.csv:3: '0,1,nan' where"),
        ("0,1," + "9" * 100, "^a.csv:3: '0,1,9+' where"),
        ("0,4,1", "^a.csv:3: expert 4 with count 1; experts are 0 to 3"),
        ("0,1,4294967296", "^a.csv:3: expert 1 with count 4294967296"),
        ("0,0,1", "^a.csv has two lines of one layer and expert"),
        ("0" * 6_000_000, "^a.csv:[13]: a line of more than 1,048,576 bytes"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = saved(tmp_path / "a.csv", "0,0,1", line)
    with pytest.raises(ValueError, match=message) as refusal:
        list(sglang_csv.source([file], FOUR).batches(Meter()))
    assert "\n" not in str(refusal.value)


def test_a_file_of_its_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a.csv has 0 layers"):
        sglang_csv.source([saved(tmp_path / "a.csv")], FOUR)
