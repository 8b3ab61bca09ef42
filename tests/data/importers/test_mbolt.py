import struct
from pathlib import Path

import numpy as np
import pytest

from data.importers import mbolt
from tests.data.importers.research_dumps import mbolt_file, read, survives, written

PREFILL = [(0, [[0, 1], [2, 3]]), (1, [[3, 2]])]  # two tokens; the last layer has the second alone
DECODE = [(0, [[1, 3]]), (1, [[0, 2]])]


def test_a_pass_of_several_tokens_begins_a_text_and_passes_of_one_continue_it(
    tmp_path: Path,
) -> None:
    records = [*PREFILL, *DECODE, *DECODE, *PREFILL, *DECODE]
    reading = read(mbolt, written(tmp_path / "a.bin", mbolt_file(records)))
    batch = reading.routing
    assert batch.doc_id_T.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert batch.position_T.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert batch.phase_T.tolist() == [0, 0, 1, 1, 0, 0, 1]
    assert [one.origin for one in reading.documents] == ["a.bin:0", "a.bin:6"]
    assert reading.findings == {
        "inferred-texts": 2,
        "last-layer-of-one-token": 2,
    }


def test_the_single_row_of_a_last_layer_is_that_of_the_last_token(tmp_path: Path) -> None:
    batch = read(mbolt, written(tmp_path / "a.bin", mbolt_file(PREFILL))).routing
    assert batch.expert_ids_TLK.tolist() == [[[0, 1], [-1, -1]], [[2, 3], [3, 2]]]


def test_a_whole_last_layer_is_no_finding(tmp_path: Path) -> None:
    records = [(0, [[0, 1], [2, 3]]), (1, [[3, 2], [1, 0]])]
    reading = read(mbolt, written(tmp_path / "a.bin", mbolt_file(records)))
    assert "last-layer-of-one-token" not in reading.findings
    assert reading.routing.expert_ids_TLK[0].tolist() == [[0, 1], [3, 2]]


def test_texts_are_numbered_through_all_files(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        written(tmp_path / name, mbolt_file(PREFILL))
    reading = read(mbolt, tmp_path)
    assert reading.routing.doc_id_T.tolist() == [0, 0, 1, 1]
    assert reading.meter.done == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_texts_that_go_on_over_blocks_stay_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.bin", mbolt_file([*PREFILL, *DECODE * 50, *PREFILL, *DECODE * 9]))
    at_once = read(mbolt, path)
    monkeypatch.setattr(mbolt, "BLOCK", 100)
    piecewise = read(mbolt, path)
    assert len(at_once.batches) == 2 < len(piecewise.batches)
    for name in ("doc_id_T", "position_T", "phase_T", "expert_ids_TLK"):
        assert np.array_equal(getattr(at_once.routing, name), getattr(piecewise.routing, name))
    assert at_once.documents == piecewise.documents


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (mbolt_file(PREFILL)[:-4], r"a\.bin ends within record 1, which begins at byte 40"),
        (mbolt_file([(0, [[0, 1]]), (1, [[0, 1, 2]])]), "record 1 has 3 experts a token; 2 are"),
        (mbolt_file([(0, [[0, 1]] * 3), (1, [[0, 1]] * 2)]), "has 2 tokens where its pass has 3"),
        (mbolt_file([(-1, [[0, 1]])]), "record 0, at byte 12, has layer -1"),
        (mbolt_file(DECODE, experts=1), "record 0 has 2 experts a token of 1"),
        (struct.pack("<4sii", b"MBLT", 2, 4) + bytes(12), "version 2"),
        (b"MBLT", r"a\.bin has 4 bytes"),
        (
            struct.pack("<4siiiii", b"MBLT", 1, 4, 0, 2, 10**9),
            r"a\.bin ends within record 0, which begins at byte 12",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(mbolt, written(tmp_path / "a.bin", content))


def test_files_of_two_models_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.bin", mbolt_file(DECODE, experts=4))
    written(tmp_path / "b.bin", mbolt_file(DECODE, experts=8))
    with pytest.raises(ValueError, match=r"a\.bin has .*\(4, 2\), and b\.bin \(8, 2\)"):
        read(mbolt, tmp_path)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.bin", mbolt_file([*PREFILL, *DECODE * 5] * 3))
    assert survives(mbolt, path) > 0
