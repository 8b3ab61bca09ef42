"""A trace without weights, packed to be shipped, and what is held against it."""

import shutil
from pathlib import Path

import duckdb
import pytest

from data.recording import KEY, different_decisions, mark, pack, unpack
from data.store import open_trace
from data.trace_format import FORMAT_VERSION

KEPT = (
    "SELECT trace_id, name, model_sha256, top_k, created_at, seed, format_version FROM trace",
    "SELECT * FROM layer ORDER BY layer_id",
    "SELECT * FROM document ORDER BY doc_id",
    "SELECT * FROM token ORDER BY doc_id, position",
    "SELECT doc_id, position, layer_id, expert_ids FROM decision ORDER BY ALL",
    "SELECT doc_id, layer_id, expert_id, phase, tokens FROM document_load ORDER BY ALL",
    "SELECT * FROM document_size ORDER BY doc_id",
    "SELECT * FROM document_k ORDER BY ALL",
    "SELECT * FROM coactivation ORDER BY ALL",
    "SELECT * FROM transition ORDER BY ALL",
)


@pytest.fixture
def unpacked(tiny_trace: Path, tmp_path: Path) -> Path:
    """The tiny trace after it was shipped."""
    pack(tiny_trace, tmp_path / "tiny.duckdb.zst")
    unpack(tmp_path / "tiny.duckdb.zst", tmp_path / "tiny.duckdb")
    return tmp_path / "tiny.duckdb"


def test_a_recording_is_a_sound_trace_with_all_but_weights_and_gates(
    tiny_trace: Path, unpacked: Path
) -> None:
    with open_trace(tiny_trace) as whole, open_trace(unpacked) as con:
        for query in KEPT:
            assert con.execute(query).fetchall() == whole.execute(query).fetchall()
        known = con.execute(
            "SELECT count(*), count(weights), count(entropy), count(margin) FROM decision"
        ).fetchall()
        assert known == [(16, 0, 0, 0)]  # 8 tokens in 2 layers
        assert con.execute("SELECT count(*) FROM document_gate").fetchall() == [(0,)]
        assert con.execute("SELECT bool_and(isnan(weight_sum)) FROM document_load").fetchall() == [
            (True,)
        ]


def test_packing_leaves_nothing_else_behind(tiny_trace: Path, tmp_path: Path) -> None:
    pack(tiny_trace, tmp_path / "tiny.duckdb.zst")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.duckdb.zst"]


def test_unpacking_writes_over_nothing(unpacked: Path) -> None:
    with pytest.raises(FileExistsError):
        unpack(unpacked.with_name("tiny.duckdb.zst"), unpacked)


def test_the_same_choices_with_and_without_weights(tiny_trace: Path, unpacked: Path) -> None:
    assert different_decisions(tiny_trace, unpacked) == (0, 16)


def test_another_order_of_the_same_experts_is_another_decision(unpacked: Path) -> None:
    with duckdb.connect(str(shutil.copy(unpacked, unpacked.with_name("other.duckdb")))) as con:
        con.execute(
            "UPDATE decision SET expert_ids = [1, 0] WHERE doc_id = 0 AND position < 2 "
            "AND layer_id = 1"
        )
    assert different_decisions(unpacked, unpacked.with_name("other.duckdb")) == (2, 16)


def test_a_decision_that_only_one_has_is_different(unpacked: Path) -> None:
    with duckdb.connect(str(shutil.copy(unpacked, unpacked.with_name("other.duckdb")))) as con:
        con.execute("DELETE FROM decision WHERE doc_id = 2")  # 2 tokens in 2 layers
    assert different_decisions(unpacked.with_name("other.duckdb"), unpacked) == (4, 16)


def test_a_mark_adds_to_the_configuration(unpacked: Path) -> None:
    mark(unpacked, {"different": 3}, trace_id="another")
    with open_trace(unpacked) as con:
        [(trace_id, config, version)] = con.execute(
            "SELECT trace_id, config, format_version FROM trace"
        ).fetchall()
    assert (trace_id, version) == ("another", FORMAT_VERSION)
    assert config == f'{{"seed": 7, "{KEY}": {{"different": 3}}}}'
