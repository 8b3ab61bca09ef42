"""What a notebook or a loop of one's own has: docs/formats.md shows it."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from routescope.importers import read, write
from routescope.traces import NO_EXPERT, Document, RoutingBatch, open_trace

FORMATS = Path(__file__).parents[1] / "docs" / "formats.md"


def block_with(words: str) -> str:
    """The example that has them."""
    blocks = re.findall(r"```python\n(.*?)```", FORMATS.read_text(encoding="utf-8"), re.DOTALL)
    [block] = [block for block in blocks if words in block]
    return block


def test_an_output_of_vllm_becomes_a_batch_as_the_documents_show() -> None:
    """An object with the fields of vLLM's RequestOutput."""
    ids_TLK = np.array([[[0, 1]], [[2, 3]], [[1, 0]]], np.int16)
    answer = SimpleNamespace(token_ids=[8, 9], text=" b", routed_experts=ids_TLK)
    output = SimpleNamespace(prompt="a", prompt_token_ids=[6, 7], outputs=[answer])
    known: dict[str, Any] = {"np": np, "RoutingBatch": RoutingBatch, "Document": Document}
    exec(block_with("def vllm_text"), known)
    batch = known["vllm_text"](4, output)
    assert batch.token_id_T.tolist() == [6, 7, 8]
    assert batch.phase_T.tolist() == [0, 0, 1]
    assert batch.documents[0].text == "a b"


def test_the_loop_of_the_documents_writes_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces").mkdir()
    exec(block_with("TraceStore.create"), {})
    with open_trace(tmp_path / "traces" / "loop.duckdb") as trace:
        assert trace.execute("SELECT count(*) FROM routing").fetchall() == [(2 * 5 * 3 * 2,)]


def test_a_dump_is_read_and_written(tmp_path: Path) -> None:
    ids_TLK = np.random.default_rng(0).random((30, 2, 8)).argsort(-1)[..., :2]
    np.save(tmp_path / "one.npy", ids_TLK)
    dump = read(tmp_path / "one.npy", num_experts=8)
    write(dump, tmp_path / "t.duckdb")
    with open_trace(tmp_path / "t.duckdb") as trace:
        assert trace.execute("SELECT count(*) FROM token").fetchall() == [(30,)]
    assert {finding.kind for finding in dump.findings} >= {"without-token-ids"}


def test_rows_of_datasets_become_a_batch() -> None:
    rows = [
        {"expert_ids": [[[0, 1]], [[2, 0]]], "token_ids": [5, 6], "domain": "math", "text": "a b"},
        {"expert_ids": [[[3, NO_EXPERT]]], "token_ids": [7]},
    ]
    batch = RoutingBatch.from_rows(rows, first_doc_id=4)
    assert batch.doc_id_T.tolist() == [4, 4, 5]
    assert batch.position_T.tolist() == [0, 1, 0]
    assert batch.token_id_T.tolist() == [5, 6, 7]
    assert [(one.doc_id, one.domain, one.text) for one in batch.documents] == [
        (4, "math", "a b"),
        (5, None, ""),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no rows"),
        ([{"text": "a"}], "row 0 has no 'expert_ids'"),
        ([{"expert_ids": [[0, 1]]}], r"row 0 is wrong: expert_ids are int64 of shape \(1, 2\)"),
        ([{"expert_ids": [[[0.5]]]}], "expert_ids are float64"),
        ([{"expert_ids": [[[0]]], "weights": [[[0.5, 0.5]]]}], "row 0 is wrong: weights are"),
        ([{"expert_ids": [[[0]]]}, {"expert_ids": [[[0, 1]]]}], "layers and choices"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoutingBatch.from_rows(rows)
