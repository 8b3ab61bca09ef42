import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.importers import parquet_export
from data.importers.parquet_export import piece_end, recognizes, source
from data.importers.source import Meter, Options, dump_files
from data.routing import RoutingBatch
from tests.data.importers.parquet_folders import (
    all_rows,
    counted_trace,
    exported,
    finding,
    forged,
    full_trace,
    imported,
    write,
)
from tests.routing_batches import batch_of, description, random_document
from tests.uneven import write_uneven_trace
from tests.varying import write_varying_trace


def test_a_trace_comes_back_with_all_that_it_can_hold(tmp_path: Path) -> None:
    trace = full_trace(tmp_path / "a.duckdb")
    before = all_rows(trace)
    assert all_rows(imported(exported(trace))) == before
    assert before["dropped"] == "[(5, 0, 0, 2), (5, 1, 1, 6), (5, 1, 1, 7)]"
    assert '"truncated": {"documents": 1, "tokens": 7}' in before["trace"]


@pytest.mark.parametrize("write_trace", [write_uneven_trace, write_varying_trace])
def test_layers_and_tokens_that_choose_differently_come_back(
    tmp_path: Path, write_trace: Callable[[Path], None]
) -> None:
    trace = tmp_path / "a.duckdb"
    write_trace(trace)
    assert all_rows(imported(exported(trace))) == all_rows(trace)


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_come_back(tmp_path: Path, weighted: bool) -> None:
    trace = counted_trace(tmp_path / "a.duckdb", weighted=weighted)
    assert all_rows(imported(exported(trace))) == all_rows(trace)


def test_ids_without_weights_come_back(tmp_path: Path) -> None:
    batch = RoutingBatch.of(
        doc_id_T=np.zeros(2, int),
        position_T=np.array([1, 4]),
        expert_ids_TLK=np.array([[[0, 1]], [[1, 3]]]),
        documents=random_document(0, tokens=1).documents,
    )
    trace = write(tmp_path / "a.duckdb", batch, of=description(layers=1, experts=4))
    assert all_rows(imported(exported(trace))) == all_rows(trace)


def test_a_text_longer_than_a_batch_and_those_beside_it_come_back(tmp_path: Path) -> None:
    sizes = {0: 3, 1: 150_000, 2: 1, 3: 4}  # tokens; a batch has 125,000 of 2 layers, 4 experts
    batches = [random_document(doc, tokens=n, top_k=4) for doc, n in sizes.items()]
    trace = write(tmp_path / "a.duckdb", *batches, of=description(top_k=4))
    folder = exported(trace)
    meter = Meter()
    read = list(source(dump_files([folder]), Options()).batches(meter))
    texts = [[document.doc_id for document in batch.documents] for batch in read]
    assert texts == [[0], [], [1, 2, 3]]
    assert all_rows(imported(folder)) == all_rows(trace)


def test_weights_that_are_not_finite_come_with_their_finding(tmp_path: Path) -> None:
    odd = batch_of([0], [[[0, 1], [2, 3]]])
    weights_TLK = odd.weights_TLK.copy()
    weights_TLK[0, 0, 0] = np.inf
    odd = replace(odd, weights_TLK=weights_TLK, findings=(finding(2, "non-finite"),))
    trace = write(tmp_path / "a.duckdb", odd, of=description())
    assert all_rows(imported(exported(trace))) == all_rows(trace)


def test_all_files_of_an_export_are_recognized_and_others_are_not(tmp_path: Path) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    assert all(recognizes(file, file.head()) for file in dump_files([folder]))
    (folder / "mine.parquet").write_bytes((folder / "token.parquet").read_bytes())
    (folder / "token.parquet").write_bytes(b"no Parquet")
    (tmp_path / "gate.parquet").write_bytes((folder / "gate.parquet").read_bytes())
    (tmp_path / "manifest.json").write_text('{"format": "another"}')
    others = [folder / "mine.parquet", folder / "token.parquet"]
    others += [tmp_path / "gate.parquet", tmp_path / "manifest.json"]
    assert not any(recognizes(file, file.head()) for file in dump_files(others))


def read_all(folder: Path) -> None:
    list(source(dump_files([folder]), Options()).batches(Meter()))


@pytest.mark.parametrize("name", ["trace", "layer", "routing", "token", "document", "gate"])
def test_a_file_that_was_changed_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    path = folder / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{name}.parquet is not the file that manifest.json"):
        read_all(folder)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    (folder / "routing.parquet").unlink()
    with pytest.raises(ValueError, match=r"^routing.parquet is missing; export the trace again$"):
        read_all(folder)


def test_two_exports_are_not_one_trace(tmp_path: Path) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    shutil.copytree(folder, folder / "second")
    with pytest.raises(ValueError, match=r"2 manifest.json in what was given"):
        read_all(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "is not a JSON object"),
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": "routescope trace tables", "format_version": true}', "version True, not 8"),
        ('{"format": "routescope trace tables", "format_version": 7}', "names no files"),
        (
            '{"format": "routescope trace tables", "format_version": 7, '
            '"files": {"trace.parquet": 1}}',
            "trace.parquet is not the file",
        ),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=said):
        read_all(folder)


def parquet(rows: dict[str, object], like: Path, *, keep_types: bool = True) -> bytes:
    """The first row of a table with other values."""
    table = pq.read_table(like)
    columns = {
        name: pa.array([value], table[name].type if keep_types else None)
        for name, value in (table.to_pylist()[0] | rows).items()
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("routing", {"layer_id": 2}, "layer 2 of 2"),
        ("routing", {"rank": 2}, "rank 2 where 2 experts"),
        ("routing", {"expert_id": 8}, "expert 8 of 8"),
        ("routing", {"doc_id": 77}, "rows of document 77, position 0 are not where"),
        ("routing", {"weight": None}, "column 'weight' has empty values"),
        ("gate", {"layer_id": 9}, "layer 9 of 2"),
        ("dropped", {"expert_id": 900}, "expert 900 of 8"),
        ("document", {"doc_id": 6}, "has no document 5"),
        ("document_k", {"k": 60_000}, "60000 experts of one token"),
        ("trace", {"config": "[1]"}, "is no JSON object"),
        ("trace", {"config": '{"truncated": {"documents": -1}}'}, "config.truncated is"),
        ("layer", {"layer_id": 4}, "not numbered from 0"),
        ("layer", {"num_experts": 5_000}, "layer.parquet: layers.0 has 5,000 experts"),
        ("finding", {"severity": "dire"}, "the severity of a finding is 'dire'"),
    ],
)
def test_a_forged_table_is_one_line(
    tmp_path: Path, name: str, values: dict[str, object], said: str
) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    file = f"{name}.parquet"
    with pytest.raises(ValueError, match=said) as caught:
        read_all(forged(folder, file, parquet(values, folder / file)))
    assert "\n" not in str(caught.value)


def test_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    content = parquet({}, folder / "routing.parquet", keep_types=False)
    with pytest.raises(ValueError, match=r"column 'doc_id' is int64, not uint32"):
        read_all(forged(folder, "routing.parquet", content))


def test_bytes_that_are_no_parquet_are_refused(tmp_path: Path) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    with pytest.raises(ValueError, match=r"routing.parquet is not readable Parquet"):
        read_all(forged(folder, "routing.parquet", b"PAR1 and no more"))


def test_a_piece_ends_where_a_text_does_unless_it_is_longer() -> None:
    assert piece_end(np.array([4, 4, 7, 7, 9]), 4) == (4, True)
    assert piece_end(np.array([4, 4, 4, 7]), 2) == (3, True)
    assert piece_end(np.array([4, 4, 4]), 2) == (2, False)


def test_the_manifest_names_rows_and_the_trace(tmp_path: Path) -> None:
    folder = exported(full_trace(tmp_path / "a.duckdb"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"]["token.parquet"]["rows"] == 4
    assert len(manifest["trace_id"]) == 32
    assert parquet_export.NAME == "parquet"
