"""Domains and groups of prompt files: which columns they come from, and what they may be."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from data.groups import Grouping
from data.prompt_parquet import check_type
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
    numbers = [pa.array([Decimal(7), None], pa.decimal128(5, scale)) for scale in (0, 2)]
    for column in (pa.array([7, None]), pa.array([7.0, float("nan")]), *numbers):  # pandas has nan
        assert groups(parquet(tmp_path / "p.parquet", text=["a", "b"], group=column)) == ["7", None]


def test_numbers_that_stand_for_something_else_are_no_labels(tmp_path: Path) -> None:
    path, days = tmp_path / "p.parquet", pd.period_range("2020-01-01", periods=2)
    pd.DataFrame({"text": ["a", "b"], "group": days}).to_parquet(path)
    with pytest.raises(ValueError, match=r"column 'group' is .*period.*, not strings or whole"):
        read(path)
    period = pa.field("group", pa.int64(), metadata={"ARROW:extension:name": "pandas.period"})
    with pytest.raises(ValueError, match=r"column 'group' is pandas\.period, not strings or whole"):
        check_type(period, "p.parquet", is_text=False)  # where pandas is not at hand
    half = pa.array([Decimal("7.5"), None], pa.decimal128(5, 1))
    with pytest.raises(ValueError, match=r"p\.parquet:1: the group is Decimal, not a string or a"):
        read(parquet(path, text=["a", "b"], group=half))
    large = pa.array([Decimal(10**75), None], pa.decimal256(76, 0))
    assert groups(parquet(path, text=["a", "b"], group=large)) == [str(10**75), None]


def test_a_label_that_is_nan_in_jsonl_is_none_with_a_note(write: Write) -> None:
    path = write("p.jsonl", '{"text": "a", "domain": NaN}\n{"text": "b", "domain": "NaN"}\n')
    assert read(path) == [("a", None), ("b", "NaN")]
    [note] = summarize_prompts(path).notes
    assert note == "a label that is NaN counts as none; write null, or the word in quotation marks"


@pytest.mark.parametrize("code", [0xAD, 0x34F, 0x115F, 0x200B, 0x2800, 0x3164, 0xFE0F, 0xE0100])
def test_a_label_without_a_visible_character_is_none(write: Write, code: int) -> None:
    label = f" {chr(code)}\u00a0{chr(code)}"
    assert read(write("p.jsonl", json.dumps({"text": "a", "domain": label}))) == [("a", None)]
    twins = "".join(json.dumps({"text": "a", "domain": f"x{c}y"}) + "\n" for c in ("", chr(code)))
    [note] = summarize_prompts(write("p.jsonl", twins)).notes
    assert note.endswith("are 2 domains, though they differ only in case, width or blanks")


@pytest.mark.parametrize(
    ("label", "stored"),
    [
        ("math\u00a0problems", "math\u00a0problems"),
        ("\u00a0math\u3000", "math"),
        ("数学\u3000問題", "数学\u3000問題"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("👩\u200d💻 code\u200d", "👩\u200d💻 code"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
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
