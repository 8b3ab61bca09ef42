"""Domains and groups of prompt files: which columns they come from, and what they may be."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from data.groups import Grouping
from data.prompts import read_documents, summarize_prompts
from tests.data.prompt_files import Write, groups, parquet, read


def test_a_group_is_read_from_every_format_that_has_columns(tmp_path: Path, write: Write) -> None:
    assert groups(write("p.csv", "group,text\nEmma,a\n Emma ,b\n ,c\n")) == ["Emma", "Emma", None]
    in_jsonl = '{"text": "a", "group": "Emma"}\n{"text": "b", "group": null}\n{"text": "c"}\n'
    assert groups(write("p.jsonl", in_jsonl)) == ["Emma", None, None]
    path = parquet(tmp_path / "p.parquet", text=["a", "b"], group=["Emma", None], domain=["x", "y"])
    assert groups(path) == ["Emma", None]
    assert groups(write("p.txt", "a\n")) == [None]


def test_a_group_column_may_have_one_group_or_as_many_as_texts(write: Write) -> None:
    for names, expected in (("gg", 1), ("gh", 2)):
        path = write("p.csv", f"text,group\na,{names[0]}\na,{names[1]}\n")
        grouping = summarize_prompts(path).grouping
        assert (grouping.source, grouping.groups, grouping.joined) == ("column", expected, 0)


def test_texts_that_name_no_group_are_one_only_with_others_that_name_none(write: Write) -> None:
    path = write("p.csv", "text,group\nsame,Emma\nsame,\nsame,\nother,\n")
    summary = summarize_prompts(path)
    named = [document.group for document in read_documents(path, joined=summary.joined)]
    assert named[0] == "Emma"
    assert named[1] == named[2] is not None
    assert named[3] is None
    assert summary.grouping == Grouping(source="column", documents=4, groups=3, joined=1)


def test_the_hash_covers_groups_that_are_given_alone(write: Write) -> None:
    plain = summarize_prompts(write("p.csv", "text,domain\na,math\n")).sha256
    blank = summarize_prompts(write("q.csv", "text,domain,group\na,math,\n")).sha256
    given = summarize_prompts(write("r.csv", "text,domain,group\na,math,g\n")).sha256
    assert plain == hashlib.sha256(b'["a", "math"]').hexdigest()  # as before groups were
    assert plain == blank != given


def test_whole_numbers_are_labels_in_every_format(tmp_path: Path, write: Write) -> None:
    assert groups(write("p.csv", "text,group\na,7\nb,\n")) == ["7", None]
    assert groups(write("p.jsonl", '{"text": "a", "group": 7}\n{"text": "b"}\n')) == ["7", None]
    for column in (pa.array([7, None]), pa.array([7.0, float("nan")])):  # pandas has the second
        assert groups(parquet(tmp_path / "p.parquet", text=["a", "b"], group=column)) == ["7", None]


@pytest.mark.parametrize(
    ("label", "stored"),
    [
        ("math\u00a0problems", "math\u00a0problems"),
        ("\u00a0math\u3000", "math"),
        ("数学\u3000問題", "数学\u3000問題"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("👩\u200d💻 code\u200d", "👩\u200d💻 code"),
        ("cafe\u0301", "café"),
        ("\ufeff \u200b", None),
        ("none", "none"),
    ],
)
def test_labels_are_compared_after_nfc_and_trimming(
    write: Write, label: str, stored: str | None
) -> None:
    path = write("p.jsonl", json.dumps({"text": "a", "domain": label}))
    assert read(path) == [("a", stored)]


def test_labels_that_look_alike_are_two_and_noted(write: Write) -> None:
    summary = summarize_prompts(write("p.csv", "text,domain\na,Math\nb,math\nc, code\n"))
    assert summary.notes == (
        "the labels 'Math', 'math' are 2 domains, though they differ only in case, width or blanks",
    )


@pytest.mark.parametrize("name", ["Domain", "DOMAIN", " domain "])
def test_names_are_matched_whatever_their_case(tmp_path: Path, write: Write, name: str) -> None:
    expected = [("a", "x")]
    assert read(write("p.csv", f"TEXT,{name}\na,x\n")) == expected
    assert read(write("p.jsonl", json.dumps({"Prompt": "a", name: "x"}))) == expected
    assert read(parquet(tmp_path / "p.parquet", **{"Text": ["a"], name: ["x"]})) == expected
    assert read(write("q.csv", "text,domain,Domain\na,x,y\n")) == expected  # the exact one


def test_a_near_name_is_not_used_but_noted(tmp_path: Path, write: Write) -> None:
    note = ("column 'Label' is not used; name it domain to use it",)
    paths = (
        write("p.csv", "text,Label\na,x\n"),
        write("p.jsonl", '{"text": "a", "Label": "x"}\n' * 3),
        parquet(tmp_path / "p.parquet", text=["a"], Label=["x"]),
    )
    for path in paths:
        assert summarize_prompts(path).notes == note
        assert read(path)[0] == ("a", None)
    assert summarize_prompts(write("q.csv", "text,domain,label\na,x,y\n")).notes == ()
