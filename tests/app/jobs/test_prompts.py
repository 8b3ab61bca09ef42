"""Prompts of the page Prompts, through a model."""

import os
from pathlib import Path

import pytest

from app import prompt_runs
from app.jobs import prompts
from app.jobs.live import Live
from app.jobs.prompts import pasted, separate_texts
from app.jobs.worker import Progress
from app.prompt_runs import Run
from app.studies.reader import Sampling
from data.prompts import Prompts
from data.routing import CancelledError
from data.store import open_trace

SAMPLING = Sampling(new_tokens=5, temperature=0.0, top_p=None, seed=0)
ID = "0123456789abcdef" * 2


def run(
    progress: Progress,
    model: Path,
    given: Prompts | prompts.Upload,
    sampling: Sampling | None = None,
) -> Run:
    out = progress.folder / "kept" / ID
    return prompts.run(progress, model, given, sampling, out=out, title="p", name="tiny")


def test_equal_prompts_of_an_upload_count_as_one(folder: Path, tmp_path: Path) -> None:
    upload = prompts.Upload("p.csv", b"text,domain\nsame,x\nother,x\nsame,x\n")
    with open_trace(run(Progress(tmp_path), folder, upload).path) as trace:
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


def test_blank_lines_and_lines_of_dashes_lie_between_texts() -> None:
    assert separate_texts("a\nb\n\nc\n---\nd\n \n\n--\n----  \ne\n") == [
        "a\nb",
        "c",
        "d",
        "--",
        "e",
    ]
    assert separate_texts("\na b\n\n\n") == ["\na b\n\n\n"]  # alone, as it is
    assert separate_texts("a\n---\n") == ["a"]
    assert separate_texts("--- a\n    b") == ["--- a\n    b"]
    assert [each.text for each in pasted("  a\n\nb").documents] == ["  a", "b"]
    assert [each.doc_id for each in pasted("a\n\nb").documents] == [0, 1]
    assert [each.text for each in pasted("a\n\nb", one=True).documents] == ["a\n\nb"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", b"a\r\nb\r\n", "2 texts in the file, one a line."),
        ("p.txt", b"a\n", "1 text in the file, one a line."),
        ("p.txt", b"a\nb\n---\n", "1 text in the file, separated by blank lines or lines of ---."),
        ("p.txt", b"a\r\n\r\nb", "2 texts in the file, separated by blank lines or lines of ---."),
        ("p.csv", b"text\na\n", "The file is run: each row is a text."),
    ],
)
def test_what_is_run_of_an_upload_is_said(name: str, content: bytes, said: str) -> None:
    assert prompts.Upload(name, content).described() == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" \n\n---\n", "there is no text to run"),
        ("a\n\n" + "b" * 200_001, "text 2 of 2 has 200,001 characters, at most 200,000"),
        ("b" * 200_001, "the text has 200,001 characters, at most 200,000; shorten it"),
        ("a\n\nb\0", "text 2 of 2 has a NUL byte"),
        ("a\n\n" * 501, "there are 501 texts, at most 500 are run at once"),
        (f"{'a' * 190_000}\n\n" * 11, "the 11 texts have 2,090,000 characters together"),
    ],
)
def test_texts_beyond_the_limits_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pasted(text)


def test_a_run_lies_in_its_folder_with_all_that_a_page_needs(folder: Path, tmp_path: Path) -> None:
    prompt_runs.begin(tmp_path / "kept" / ID, {"values": {}})
    made = run(Progress(tmp_path), folder, pasted("abc\n\nb" * 2))
    assert (made.id, made.title, made.model) == (ID, "p", "tiny")
    assert (made.documents, made.asked, made.stopped) == (3, 3, False)
    assert made.tokens == 3 + 4 + 1
    assert made.text(1) == "babc"
    assert [path.name for path in made.folder.parent.iterdir()] == [ID]
    [read], others = prompt_runs.listed(made.folder.parent)
    assert (read, others) == (made, [])


def test_a_run_that_fails_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    progress.stop.set()
    with pytest.raises(CancelledError):
        run(progress, folder, pasted("abc"))
    assert not (tmp_path / "kept").exists()


def test_a_continuation_is_told_of_and_ends_when_it_is_enough(folder: Path, tmp_path: Path) -> None:
    lives: list[Live] = []
    progress = Progress(tmp_path)

    def send(update: dict[str, object]) -> None:
        if isinstance(live := update.get("live"), Live):
            lives.append(live)
            progress.enough.set()

    progress.send = send
    made = run(progress, folder, pasted("abc\n\nb"), SAMPLING)
    assert lives[0].tokens[:3] == ["a", "b", "c"]
    assert (made.documents, made.asked, made.tokens, made.stopped) == (1, 2, 3, True)
    with pytest.raises(ValueError, match="has no text 1"):
        made.text(1)
    with open_trace(made.path) as trace:
        [(text,)] = trace.execute("SELECT text FROM document").fetchall()
    assert text == "".join(lives[0].tokens)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_a_run_stays_with_its_job(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir(mode=0o500)
    assert run(Progress(tmp_path), folder, pasted("abc")).folder == tmp_path / ID


def test_a_folder_that_cannot_be_made_leaves_the_run_with_its_job(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("a file in its place")
    made = run(Progress(tmp_path), folder, pasted("abc"))
    assert made.folder == tmp_path / ID
    assert made.text(0) == "abc"
