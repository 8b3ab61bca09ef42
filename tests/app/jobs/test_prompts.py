"""Prompts of the page Prompts, through a model."""

from pathlib import Path

from app.jobs import prompts
from app.jobs.worker import Progress
from data.store import open_trace


def test_equal_prompts_of_an_upload_count_as_one(folder: Path, tmp_path: Path) -> None:
    with prompts.upload_reading("p.csv", b"text,domain\nsame,x\nother,x\nsame,x\n") as reading:
        while not reading.ended(wait=1):
            pass
        documents = reading.prompts().documents
    result = prompts.run(Progress(tmp_path), folder, documents, None)
    with open_trace(result.path) as trace:
        groups = [row[0] for row in trace.execute('SELECT "group" FROM document').fetchall()]
        counted = trace.execute("SELECT config -> '$.capture.groups.groups' FROM trace").fetchall()
    assert groups[0] == groups[2] is not None
    assert groups[1] is None
    assert counted == [("2",)]
