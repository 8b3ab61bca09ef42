import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.exports import olmoe
from data.importers import olmoe as importer
from data.importers.source import DumpFile, Meter, Options
from data.routing import NO_EXPERT, NO_TOKEN, RoutingBatch
from data.store import TraceStore, open_trace
from tests.routing_batches import batch_of, description, random_document

LINES = """\
{"input_ids": [0, 1], "exp_ids": [[[0, 2], [1, 3]], [[1, 2], [0, 0]]]}
{"input_ids": [0], "exp_ids": [[[0, 1], [3, 2]]]}
"""


def written(tmp_path: Path, *batches: RoutingBatch, top_k: int | None = 2) -> list[str]:
    """What is said of the file lines.jsonl."""
    trace = tmp_path / "a.duckdb"
    with TraceStore.create(trace, description(top_k=top_k)) as store:
        for batch in batches:
            store.write(batch)
    with open_trace(trace) as con, (tmp_path / "lines.jsonl").open("wb") as file:
        return olmoe.write_jsonl(con, 2, file)


def two_texts() -> list[RoutingBatch]:
    """Text 3 of two tokens, text 4 of one; two layers."""
    return [
        batch_of([4], [[[0, 3], [1, 2]]]),
        batch_of([3, 3], [[[0, 1], [2, 3]], [[1, 0], [2, 0]]]),
    ]


def test_a_line_is_a_text_with_experts_by_token_rank_and_layer(tmp_path: Path) -> None:
    assert written(tmp_path, *two_texts()) == [
        "without predicted_token_ids: a trace does not hold what the model predicted"
    ]
    assert (tmp_path / "lines.jsonl").read_text() == LINES


def test_a_long_text_is_one_line_all_the_same(tmp_path: Path) -> None:
    documents = {2: 1, 5: 300_000, 9: 2}  # tokens; 250,000 are read at once
    batches = [random_document(doc_id, tokens=tokens) for doc_id, tokens in documents.items()]
    written(tmp_path, *batches)
    with (tmp_path / "lines.jsonl").open() as file:
        lines = [json.loads(line) for line in file]
    assert [len(line["input_ids"]) for line in lines] == [1, 300_000, 2]
    for line, batch in zip(lines, batches, strict=True):
        np.testing.assert_array_equal(line["exp_ids"], batch.expert_ids_TLK.transpose(0, 2, 1))


def test_the_importer_reads_the_same(tmp_path: Path) -> None:
    batches = [random_document(doc_id, tokens=3 + doc_id) for doc_id in range(4)]
    written(tmp_path, *batches)
    file = DumpFile(tmp_path / "lines.jsonl", "lines.jsonl")
    assert importer.recognizes(file, file.head())
    [read] = importer.source([file], Options(num_experts=8)).batches(Meter())
    assert isinstance(read, RoutingBatch)
    for name in ("doc_id_T", "position_T", "token_id_T", "expert_ids_TLK"):
        expected = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(getattr(read, name), expected)


def test_tokens_without_an_id_are_named(tmp_path: Path) -> None:
    batch = batch_of([3, 3], [[[0, 1], [2, 3]]] * 2)
    batch = replace(batch, token_id_T=np.array([7, NO_TOKEN], np.uint32))
    with pytest.raises(ValueError, match=r"does not name all .*\(document 3, position 1\)"):
        written(tmp_path, batch)


def test_tokens_that_choose_differently_are_refused(tmp_path: Path) -> None:
    batch = batch_of([3, 3], [[[0, 1], [2, 3]], [[0, 1], [2, NO_EXPERT]]])
    with pytest.raises(ValueError, match="tokens choose 1 to 2 experts"):
        written(tmp_path, batch, top_k=None)


def test_tokens_that_were_not_routed_are_counted(tmp_path: Path) -> None:
    batch = replace(two_texts()[1], position_T=np.array([2, 5], np.uint32))
    assert written(tmp_path, batch)[1].startswith("4 tokens of the texts have no routing")


def test_ranges_hold_whole_texts() -> None:
    assert list(olmoe.ranges(np.array([2, 2, 1, 9, 1]), 4)) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert list(olmoe.ranges(np.array([], int), 4)) == []
