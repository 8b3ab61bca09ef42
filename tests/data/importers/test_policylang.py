from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.importers import policylang
from data.importers.source import Options
from data.routing import NO_TOKEN
from tests.data.importers.research_dumps import policylang_file, read, survives, written

Row = dict[str, object]


def row(prompt: int, token: int, layer: int, ids: list[int], **more: object) -> Row:
    return {"p": prompt, "t": token, "l": layer, "e": ids, "s": [0.5, 0.25], **more}


# Layers 1 and 3; a prompt of two tokens and one that is generated, then a prompt of one token.
ROWS = [
    row(0, 0, 1, [0, 1], ti=11, ph="prefill", dm="code"),
    row(0, 1, 1, [2, 3], ti=12, ph="prefill", dm="code"),
    row(0, 0, 3, [3, 2], ti=11, ph="prefill", dm="code"),
    row(0, 1, 3, [1, 0], ti=12, ph="prefill", dm="code"),
    row(0, 2, 1, [0, 2], ti=13, ph="decode", dm="code", tl=1.5),
    row(0, 2, 3, [1, 3], ti=13, ph="decode", dm="code", tl=1.5),
    row(7, 0, 1, [0, 1]),
    row(7, 0, 3, [0, 1]),
]


def parquet(path: Path, rows: list[Row]) -> Path:
    def column(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([row.get(name) for row in rows], kind)

    table = {
        "prompt_id": column("p", pa.int32()),
        "token_idx": column("t", pa.int32()),
        "layer_idx": column("l", pa.int32()),
        "selected_experts": column("e", pa.list_(pa.int32())),
        "router_scores": column("s", pa.list_(pa.float32())),
        "token_id": column("ti", pa.int32()),
        "phase": column("ph", pa.string()),
        "domain_tag": column("dm", pa.string()),
        "token_loss": column("tl", pa.float32()),
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_of_layers_become_tokens_of_prompts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        written(path, policylang_file(ROWS))
    else:
        parquet(path, ROWS)
    reading = read(policylang, path)
    batch = reading.routing
    assert [layer.name for layer in reading.source.layers] == ["layers.1", "layers.3"]
    assert batch.doc_id_T.tolist() == [0, 0, 0, 1]
    assert batch.position_T.tolist() == [0, 1, 2, 0]
    assert batch.token_id_T.tolist() == [11, 12, 13, NO_TOKEN]
    assert batch.phase_T.tolist() == [0, 0, 1, 0]
    assert batch.loss_T[2] == 1.5
    assert np.isnan(batch.loss_T[[0, 1, 3]]).all()
    assert batch.expert_ids_TLK[1].tolist() == [[2, 3], [1, 0]]
    assert batch.weights_TLK[1].tolist() == [[0.5, 0.25]] * 2
    assert [one.domain for one in reading.documents] == ["code", None]
    assert [one.origin for one in reading.documents] == [f"a.{kind}:0", f"a.{kind}:7"]


def test_the_selection_was_computed_again_for_every_token(tmp_path: Path) -> None:
    reading = read(policylang, written(tmp_path / "a.jsonl", policylang_file(ROWS)))
    assert reading.findings == {"recomputed-selection": 4}


def test_a_header_names_the_model(tmp_path: Path) -> None:
    reading = read(policylang, written(tmp_path / "a.jsonl", policylang_file(ROWS)), Options())
    assert reading.source.model_name == "tiny"
    assert reading.source.layers[0].num_experts == 4


def test_parquet_has_no_header_so_that_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet .* give --num-experts"):
        read(policylang, parquet(tmp_path / "a.parquet", ROWS), Options())


def test_a_token_without_a_row_in_a_layer_has_no_choice_there(tmp_path: Path) -> None:
    reading = read(policylang, written(tmp_path / "a.jsonl", policylang_file(ROWS[:-1])))
    assert reading.routing.expert_ids_TLK[3].tolist() == [[0, 1], [-1, -1]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*ROWS, ROWS[0]], r"a\.jsonl: prompt 0 comes again after others"),
        ([*ROWS, ROWS[-1]], r"a\.jsonl:7 has token 0 twice in layer 3"),
        (
            [*ROWS, row(7, 1, 2, [0, 1])],
            r"a\.jsonl has rows of the layers 1, 2, 3, .* says 2 layers",
        ),
        ([*ROWS, row(7, 1, 3, [0])], r"a\.jsonl:10: 'e' is no list of 2 numbers"),
        ([*ROWS, row(7, 1, 3, [0, True])], r"a\.jsonl:10: 'e' is no list of 2 numbers"),
        ([*ROWS, row(7, -1, 3, [0, 1])], r"a\.jsonl:10: 't' is int, out of place"),
        ([*ROWS, row(7, 1, 3, [0, 1], ph="draft")], r"a\.jsonl:10: the phase 'draft'; prefill or"),
        ([*ROWS, row(7, 1, 3, [0, 10**30])], r"a\.jsonl:10: a number that is too large"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, rows: list[Row], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(policylang, written(tmp_path / "a.jsonl", policylang_file(rows)))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"top_k": 5}, "2 layers with 5 of 4 experts"),
        ({"num_experts": "4"}, "a header with num_layers"),
        ({"num_experts": True}, "a header with num_layers"),
    ],
)
def test_a_header_that_does_not_fit_is_named(
    tmp_path: Path, header: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(policylang, written(tmp_path / "a.jsonl", policylang_file(ROWS, **header)))


def test_parquet_of_other_types_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", ROWS)
    table = pq.read_table(path)
    as_text = table.column("token_idx").cast(pa.string())
    pq.write_table(table.set_column(1, "token_idx", as_text), path)
    with pytest.raises(ValueError, match=r"a\.parquet: column 'token_idx' is string"):
        read(policylang, path)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    assert survives(policylang, written(tmp_path / "a.jsonl", policylang_file(ROWS))) > 0
    assert survives(policylang, parquet(tmp_path / "a.parquet", ROWS)) > 0
