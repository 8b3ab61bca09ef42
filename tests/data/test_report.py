import csv
import io
import json
import zipfile
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.report import csv_text, guard, trace_table, write_zip

PREFIXES = ["=", "+", "-", "@", "\t", "\r", "\n", "\x00", "  =", "＝", "＋", "－", "＠"]  # noqa: RUF001


@pytest.mark.parametrize("prefix", PREFIXES)
def test_text_that_starts_like_a_formula_gets_an_apostrophe(prefix: str) -> None:
    assert guard(f"{prefix}SUM(1)") == f"'{prefix}SUM(1)"


@pytest.mark.parametrize("harmless", ["a=1", "1-2", " word", "", "'=1"])
def test_other_text_is_left_alone(harmless: str) -> None:
    assert guard(harmless) == harmless


def test_numbers_stay_numbers() -> None:
    frame = pd.DataFrame({"lift": [-0.5], "text": ["-0.5"]})
    assert csv_text(frame) == '"lift","text"\r\n-0.5,"\'-0.5"\r\n'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20))
def test_a_csv_reads_back_as_the_guarded_text(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"text": [text]})), newline="")))
    assert rows == [["text"], [str(guard(text))]]


def test_quotes_commas_newlines_and_emoji_read_back_in_pandas_and_duckdb(tmp_path: Path) -> None:
    texts = ['say "hi", twice', "two\nlines", "🙂 שלום"]
    path = tmp_path / "t.csv"
    path.write_text(csv_text(pd.DataFrame({"text": texts})), encoding="utf-8", newline="")
    assert pd.read_csv(path).text.tolist() == texts
    with duckdb.connect() as con:
        rows = con.execute("SELECT text FROM read_csv($1, header = true)", [str(path)]).fetchall()
    assert [text for (text,) in rows] == texts


def test_a_missing_value_is_an_empty_cell() -> None:
    assert csv_text(pd.DataFrame({"domain": ["math", None]})).splitlines()[2] in ("", '""')


def test_the_zip_holds_every_table_and_counts_its_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"expert_id": [0, 1], "text": ["=1", "b"]})
    seen: list[int] = []
    write_zip(
        tmp_path / "all.zip",
        {"tokens": lambda: [frame, frame], "none": lambda: [frame.head(0)]},
        {"trace": "demo"},
        on_rows=seen.append,
    )
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.read("tokens.csv").decode().count("\r\n") == 5  # a heading and 2 + 2 rows
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest == {"trace": "demo", "rows": {"tokens.csv": 4, "none.csv": 0}}
    assert seen == [2, 4, 4]


def test_a_table_name_cannot_leave_the_zip(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        write_zip(tmp_path / "all.zip", {"../evil": lambda: []}, {})


def test_a_byte_order_mark_begins_a_file_where_it_is_asked_for(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["日本語", "né"], "n": [1, 2]})
    assert csv_text(frame, bom=True) == "\ufeff" + csv_text(frame)
    chunks = {"texts": lambda: [frame, frame]}
    write_zip(tmp_path / "a.zip", chunks, {}, bom=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        content = archive.read("texts.csv")
    assert content.count("\ufeff".encode()) == 1
    assert pd.read_csv(io.BytesIO(content)).text.tolist() == ["日本語", "né"] * 2


def test_a_manifest_is_json_whatever_was_measured(tmp_path: Path) -> None:
    measured = {"nan": float("nan"), "deep": [{"inf": (1.5, float("-inf"))}], "名": "前"}
    write_zip(tmp_path / "a.zip", {}, measured)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        text = archive.read("manifest.json").decode()
    assert "名" in text
    assert json.loads(text) == {
        "nan": None,
        "deep": [{"inf": [1.5, None]}],
        "名": "前",
        "rows": {},
    }


def test_tables_of_a_trace_come_whole_and_no_others(tiny: duckdb.DuckDBPyConnection) -> None:
    assert sum(len(frame) for frame in trace_table(tiny, "token")) == 8
    with pytest.raises(ValueError, match="not a table"):
        next(trace_table(tiny, "sqlite_master"))
