"""Prompt files in Parquet: sizes first, every encoding, one line for what is damaged."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.lines import Limits
from data.prompt_parquet import AT_ONCE, batches
from tests.data.prompt_files import parquet, read


def test_parquet_reads_strings_of_any_width(tmp_path: Path) -> None:
    domains = pa.array(["math", None, "math"]).dictionary_encode()
    texts = pa.array(["a", "b", "c"], pa.large_string())
    path = parquet(tmp_path / "p.parquet", text=texts, domain=domains, other=[[1], [2], [3]])
    assert read(path) == [("a", "math"), ("b", None), ("c", "math")]


def test_parquet_of_other_types_is_refused(tmp_path: Path) -> None:
    for column in (pa.array([b"a"]), pa.array([["a"]]), pa.array([{"a": 1}]), pa.array([1])):
        path = parquet(tmp_path / "p.parquet", text=column)
        with pytest.raises(ValueError, match=r"p\.parquet: column 'text' is .*, not strings"):
            read(path)
    for label in ("domain", "group"):
        with pytest.raises(ValueError, match=f"column '{label}' is bool, not strings or whole"):
            read(parquet(tmp_path / "p.parquet", text=["a"], **{label: [True]}))


def test_columns_that_hold_nothing_views_and_json_are_read(tmp_path: Path) -> None:
    nothing = pa.nulls(2)
    path = parquet(tmp_path / "p.parquet", text=["a", "b"], domain=nothing, group=nothing)
    assert read(path) == [("a", None), ("b", None)]
    view = pa.array(["a", "b"], pa.string_view())
    assert read(parquet(path, text=view, domain=view)) == [("a", "a"), ("b", "b")]
    json_type = pa.array(['{"a": 1}', "2"], pa.json_())
    assert read(parquet(path, text=json_type)) == [('{"a": 1}', None), ("2", None)]


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
def test_parquet_is_read_in_every_encoding_of_texts(tmp_path: Path, encoding: str) -> None:
    texts = [f"text {row}" for row in range(1_000)]
    table = pa.table({"text": texts, "domain": ["a", "b"] * 500, "group": range(1_000)})
    path = tmp_path / "p.parquet"
    encodings = {"text": encoding, "domain": encoding}
    pq.write_table(table, path, use_dictionary=False, column_encoding=encodings)
    assert read(path) == list(zip(texts, ["a", "b"] * 500, strict=True))


def test_parquet_whose_encoding_changes_on_the_way_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    texts = (
        "SELECT CASE WHEN i < 2048 THEN 'same' ELSE 'text ' || i END AS text FROM range(5000) t(i)"
    )
    duckdb.execute(f"COPY ({texts}) TO '{path}' (PARQUET_VERSION V2, ROW_GROUP_SIZE 2048)")
    metadata = pq.read_metadata(path)
    encodings = [metadata.row_group(place).column(0).encodings for place in range(3)]
    assert encodings == [("RLE_DICTIONARY",), *[("DELTA_LENGTH_BYTE_ARRAY",)] * 2]
    assert [text for text, _ in read(path)] == [row[0] for row in duckdb.execute(texts).fetchall()]


def test_one_text_many_times_is_not_written_out_at_once(tmp_path: Path) -> None:
    path, text = tmp_path / "p.parquet", "x" * 900_000
    texts = pa.DictionaryArray.from_arrays([0] * 600, [text]).cast(pa.large_string())
    encoded = {"text": "DELTA_BYTE_ARRAY"}
    pq.write_table(pa.table({"text": texts}), path, use_dictionary=False, column_encoding=encoded)
    assert path.stat().st_size < 1_000_000
    sizes = [batch.nbytes for batch in batches(path, ["text"])]
    assert max(sizes) <= AT_ONCE < sum(sizes)


def test_a_value_that_unpacks_to_more_than_a_text_is_refused_unread(tmp_path: Path) -> None:
    long_text = pa.array(["x" * 9_000_000])
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"text": long_text}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 2_000
    with pytest.raises(ValueError, match=r"row group 1 unpacks to 9,000,0\d\d bytes for 1 rows"):
        read(path)


def test_bad_utf8_in_parquet_is_named_by_row(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"caf\xe9"]).view(pa.string())
    with pytest.raises(ValueError, match=r"p\.parquet:2: not UTF-8 .byte 0xe9"):
        read(parquet(tmp_path / "p.parquet", text=texts))


@pytest.mark.slow
def test_a_parquet_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    """A few kilobytes on disk, 20 GB of text; then one of 2 TB in texts of 10 MB."""
    for characters, message in ((100_000, "or 5,000,000 characters"), (10_000_000, "limit is")):
        one_text = pa.array(["x" * characters])
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), one_text)
        path = parquet(tmp_path / "bomb.parquet", text=texts)
        assert path.stat().st_size < 600_000
        with pytest.raises(ValueError, match=message):
            read(path, Limits(total_characters=5_000_000))
