"""Prompts of the page Prompts, through a model."""

from pathlib import Path

import pytest

from app.jobs import prompts
from app.jobs.worker import Progress
from data.store import open_trace


def test_equal_prompts_of_an_upload_count_as_one(folder: Path, tmp_path: Path) -> None:
    upload = prompts.Upload("p.csv", b"text,domain\nsame,x\nother,x\nsame,x\n")
    result = prompts.run(Progress(tmp_path), folder, upload, None)
    with open_trace(result.path) as trace:
        rows = trace.execute('SELECT "group" FROM document ORDER BY doc_id').fetchall()
        groups = [row[0] for row in rows]
        counted = trace.execute("SELECT config -> '$.capture.groups.groups' FROM trace").fetchall()
    assert groups[0] == groups[2] is not None
    assert groups[1] is None
    assert counted == [("2",)]


@pytest.mark.parametrize(
    ("name", "megabytes", "words"),
    [("p.exe", 0, "is not a txt, csv, jsonl, parquet file"), ("p.csv", 33, "more than 32 MB")],
)
def test_an_upload_of_another_kind_or_size_is_refused(
    name: str, megabytes: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        prompts.Upload(name, bytes(megabytes << 20))
