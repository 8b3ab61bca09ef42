"""Files of strangers, read in a process that is bounded in memory and time."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import prompt_process
from data.lines import Limits
from data.prompt_process import PromptReading, prompt_reading
from data.prompts import Prompts

LIMITS = Limits(documents=5, rows=10)


def finished(reading: PromptReading) -> Prompts:
    while not reading.ended(wait=1):
        pass
    return reading.prompts()


def _after_its_end(reading: PromptReading) -> Prompts:
    reading.process.kill()
    reading.process.wait()
    return finished(reading)


def test_prompts_come_back_with_their_notes(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("text,label\na,x\nb,y\n")
    with prompt_reading(path, LIMITS) as reading:
        prompts = finished(reading)
    assert [document.text for document in prompts.documents] == ["a", "b"]
    assert prompts.notes == ("column 'label' is not used; name it domain to use it",)


def test_a_bad_file_is_an_error_here(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a\n" * 6)
    with (
        prompt_reading(path, LIMITS) as reading,
        pytest.raises(ValueError, match=r"p\.txt:6: more than 5 prompts"),
    ):
        finished(reading)


def test_a_process_that_dies_or_takes_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a\n")
    with (
        prompt_reading(path, LIMITS) as reading,
        pytest.raises(ValueError, match="cannot be read"),
    ):
        _after_its_end(reading)
    monkeypatch.setattr(prompt_process, "SECONDS", 0.0)  # over before it has begun
    with (
        prompt_reading(path, LIMITS) as reading,
        pytest.raises(ValueError, match="takes more than 0 s to read"),
    ):
        reading.prompts()
    assert reading.process.poll() is not None


def test_a_file_that_lies_about_its_size_meets_the_limit_of_memory(tmp_path: Path) -> None:
    """Limits so wide that the metadata passes, as if its sizes were false."""
    path = tmp_path / "p.parquet"
    text = pa.array(["x" * 120_000_000], pa.large_string())
    pq.write_table(pa.table({"text": text}), path, compression="zstd", use_dictionary=False)
    wide = replace(LIMITS, characters=2 * 10**9, total_characters=10**10)
    with (
        prompt_reading(path, wide, memory=64 << 20) as reading,
        pytest.raises(ValueError, match=r"more memory|MB"),
    ):
        finished(reading)


@pytest.mark.parametrize(("texts", "characters"), [(100, 1_000), (1, 190_000), (400, 2_000)])
def test_ordinary_parquet_is_within_the_limits(tmp_path: Path, texts: int, characters: int) -> None:
    draw = np.random.default_rng(0)
    letters = draw.choice(list("abcdefgh "), (texts, characters))
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"text": ["".join(row) for row in letters]}), path)
    with prompt_reading(path, Limits(documents=500, rows=10_000)) as reading:
        assert len(finished(reading).documents) == texts


def test_the_main_program_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As multiprocessing would: of a page that is being drawn, for one."""
    program = tmp_path / "main.py"
    program.write_text("raise SystemExit")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(program), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    (tmp_path / "p.txt").write_text("a\n")
    with prompt_reading(tmp_path / "p.txt", LIMITS) as reading:
        assert len(finished(reading).documents) == 1
