"""Megatron-Core's router trace."""

from pathlib import Path

import pytest

from data.importers import megatron
from data.importers.source import Meter, Options
from tests.data.importers.engine_dumps import (
    NO_OPTIONS,
    kinds,
    router_record,
    routing,
    save_lines,
)

EIGHT = Options(num_experts=8)
STEP = [router_record(0, 3, [[0, 1], [2, 3]]), router_record(0, 4, [[4, 5], [6, 7]])]


def test_the_layers_of_a_step_are_one_document(tmp_path: Path) -> None:
    next_step = [router_record(1, 3, [[1, 2]]), router_record(1, 4, [[3, 4]])]
    file = save_lines(tmp_path / "router_trace_rank0.jsonl", [*STEP, *next_step])
    assert megatron.recognizes(file, file.head())
    source = megatron.source([file], EIGHT)
    assert [layer.name for layer in source.layers] == ["layers.3", "layers.4"]
    assert (source.layers[0].num_experts, source.layers[0].top_k) == (8, 2)
    [batch] = routing(source)
    assert batch.doc_id_T.tolist() == [0, 0, 1]
    assert batch.position_T.tolist() == [0, 1, 0]
    assert batch.expert_ids_TLK.tolist() == [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[1, 2], [3, 4]]]
    assert [document.origin for document in batch.documents] == [
        "router_trace_rank0.jsonl:1",
        "router_trace_rank0.jsonl:3",
    ]
    assert kinds(source) == {"passes-as-texts": 2}


def test_a_layer_that_comes_again_begins_the_next_microbatch(tmp_path: Path) -> None:
    [batch] = routing(megatron.source([save_lines(tmp_path / "a.jsonl", STEP * 2)], EIGHT))
    assert batch.doc_id_T.tolist() == [0, 0, 1, 1]


def test_ranks_are_documents_of_their_own(tmp_path: Path) -> None:
    files = [
        save_lines(tmp_path / f"{rank}.jsonl", [record | {"rank": rank} for record in STEP])
        for rank in (0, 1)
    ]
    [batch] = routing(megatron.source(files, EIGHT))
    assert batch.doc_id_T.tolist() == [0, 0, 1, 1]
    assert batch.documents[1].origin == "1.jsonl:1"


def test_records_of_draft_heads_are_left_out_and_counted(tmp_path: Path) -> None:
    draft = router_record(0, 3, [[7, 6], [5, 4]], block="mtp", mtp_idx=0)
    source = megatron.source([save_lines(tmp_path / "a.jsonl", [*STEP, draft])], EIGHT)
    [batch] = routing(source)
    assert batch.expert_ids_TLK[:, 0].tolist() == [[0, 1], [2, 3]]
    assert kinds(source)["draft-tokens"] == 2


def test_a_layer_without_a_record_has_no_choices(tmp_path: Path) -> None:
    only_one = router_record(1, 4, [[3, 4]])
    [batch] = routing(megatron.source([save_lines(tmp_path / "a.jsonl", [*STEP, only_one])], EIGHT))
    assert batch.expert_ids_TLK[2].tolist() == [[-1, -1], [3, 4]]


def test_the_shape_of_logits_says_the_number_of_experts(tmp_path: Path) -> None:
    logits = {"logit_offset": 0, "logit_bytes": 32, "logit_shape": [2, 8]}
    file = save_lines(tmp_path / "a.jsonl", [record | logits for record in STEP])
    assert megatron.source([file], NO_OPTIONS).layers[0].num_experts == 8
    with pytest.raises(ValueError, match="logits of 8 experts, --num-experts says 9"):
        megatron.source([file], Options(num_experts=9))


def test_without_logits_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a.jsonl does not say .*; give --num-experts$"):
        megatron.source([save_lines(tmp_path / "a.jsonl", STEP)], NO_OPTIONS)


def test_a_long_step_comes_in_pieces_and_its_document_with_the_last(tmp_path: Path) -> None:
    tokens = 600_000  # of 1 layer and 2 choices; a million choices are 500,000 tokens
    file = save_lines(tmp_path / "a.jsonl", [router_record(0, 3, [[0, 1]] * tokens)])
    batches = routing(megatron.source([file], EIGHT))
    assert [len(batch.doc_id_T) for batch in batches] == [500_000, 100_000]
    assert [len(batch.documents) for batch in batches] == [0, 1]
    assert batches[1].position_T[0] == 500_000


def test_all_bytes_are_counted_as_read(tmp_path: Path) -> None:
    file = save_lines(tmp_path / "a.jsonl", STEP)
    meter = Meter(file.size)
    list(megatron.source([file], EIGHT).batches(meter))
    assert meter.done == file.size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": -1}, "layer is -1; a whole number from 0"),
        ({"layer": True}, "layer is True"),
        ({"step": "1"}, "step is str"),
        ({"rank": 0.5}, "rank is 0.5"),
        ({"num_tokens": 3}, r"top_indices has 2 rows of \[2\] experts; num_tokens is 3"),
        ({"topk": 10**12}, "topk is 1000000000000"),
        ({"top_indices": None}, "top_indices is no list of lists"),
        ({"top_indices": [[0, 1], [2]]}, r"2 rows of \[1, 2\] experts"),
        ({"top_indices": [[0, 1], [2, 3.0]]}, "something else than whole numbers"),
        ({"top_indices": [[0, 1], [2, True]]}, "something else than whole numbers"),
        ({"top_indices": [[0, 1], [2, 10**30]]}, "a number of more than 64 bits"),
        ({"top_indices": [[0, 1]], "num_tokens": 1}, "1 tokens and 2 experts a token, where"),
    ],
)
def test_a_record_that_is_wrong_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = save_lines(tmp_path / "a.jsonl", [STEP[0], STEP[1] | change])
    with pytest.raises(ValueError, match=f"^a.jsonl:2: .*{message}") as refusal:
        routing(megatron.source([file], EIGHT))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("line", ["", "{", "[" * 100_000, "3", "\udcff", '{"step": ' + "9" * 5_000])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    file = save_lines(tmp_path / "a.jsonl", STEP)
    with file.path.open("ab") as opened:
        opened.write(line.encode("utf-8", "surrogateescape"))
    if not line:
        assert len(routing(megatron.source([file], EIGHT))) == 1
        return
    with pytest.raises(ValueError, match=r"^a.jsonl:3: ") as refusal:
        routing(megatron.source([file], EIGHT))
    assert "\n" not in str(refusal.value)


def test_files_with_other_layers_are_refused_by_name(tmp_path: Path) -> None:
    one = save_lines(tmp_path / "a.jsonl", STEP)
    two = save_lines(tmp_path / "b.jsonl", [STEP[0]])
    with pytest.raises(ValueError, match=r"^a.jsonl has layers 3 to 4 .*, b.jsonl 3 to 3 "):
        megatron.source([one, two], EIGHT)


def test_a_file_without_a_token_is_refused(tmp_path: Path) -> None:
    file = save_lines(tmp_path / "a.jsonl", [router_record(0, 3, [])])
    with pytest.raises(ValueError, match=r"^a.jsonl has no record of a token"):
        megatron.source([file], EIGHT)
