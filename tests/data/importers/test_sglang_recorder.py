"""SGLang's recorder: counts by step and pass, and choices by token."""

from pathlib import Path

import numpy as np
import pytest

from data.importers import sglang_recorder
from data.importers.source import DumpFile, Meter, Options
from data.routing import DECODE, PREFILL
from tests.data.importers.engine_dumps import (
    NO_OPTIONS,
    counts,
    kinds,
    pass_record,
    routing,
    save_records,
    save_stat,
    token_record,
)

EXTEND, DECODES, MIXED, IDLE, VERIFY = 1, 2, 3, 4, 5
COPIED = ((0, 1, 2, 0), (0, 1, 2, 2))  # 4 physical experts of 3: a copy of 0, and of 2


def prefill(pass_id: int = 7, *, rank: int = 0, first: int = 0) -> dict[str, object]:
    """Two sequences, of 2 tokens and of 1, in 2 layers that choose 2 of 4 experts."""
    return token_record(
        pass_id,
        [[[first, 1], [2, 3]], [[1, 2], [3, 0]], [[3, 1], [0, 2]]],
        token_ids=[11, 12, 13],
        positions=[0, 1, 5],
        lengths=[2, 1],
        mode=EXTEND,
        rank=rank,
    )


def decode(pass_id: int = 8) -> dict[str, object]:
    return token_record(
        pass_id,
        [[[0, 1], [2, 3]], [[2, 3], [0, 1]]],
        token_ids=[21, 22],
        positions=[2, 6],
        lengths=None,
        mode=DECODES,
    )


@pytest.mark.parametrize("mode", ["stat", "per_pass", "per_token"])
def test_a_dump_of_each_mode_is_recognized(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.pt"
    dump = {
        "stat": lambda: save_stat(path, [[[1, 2]]]),
        "per_pass": lambda: save_records(path, [pass_record(1, [[1, 2, 3, 4]] * 2)]),
        "per_token": lambda: save_records(path, [prefill()]),
    }[mode]()
    assert sglang_recorder.recognizes(dump, dump.head())


def test_other_files_are_not_recognized(tmp_path: Path) -> None:
    file = DumpFile(tmp_path / "x.pt", "x.pt")
    for head in (b"", b"PK\x03\x04 data.pkl weight", b'{"logical_count": [1]}'):
        assert not sglang_recorder.recognizes(file, head)


def test_a_step_of_stat_is_a_document_and_empty_steps_are_none(tmp_path: Path) -> None:
    dump = save_stat(tmp_path / "a.pt", [[[1, 2, 0]], [[0, 0, 0]], [[0, 0, 4]]])
    source = sglang_recorder.source([dump], NO_OPTIONS)
    [batch] = counts(source)
    assert batch.tokens_NLE.tolist() == [[[1, 2, 0]], [[0, 0, 4]]]
    assert [document.origin for document in batch.documents] == ["a.pt:step 1", "a.pt:step 3"]
    assert [document.doc_id for document in batch.documents] == [0, 1]
    assert (len(source.layers), source.layers[0].num_experts, source.counts_only) == (1, 3, True)
    assert kinds(source) == {"counts-only": 1}


def test_ranks_of_a_pass_are_summed_and_copies_count_as_their_expert(tmp_path: Path) -> None:
    one = save_records(tmp_path / "a_0.pt", [pass_record(3, [[1, 2, 3, 4], [1, 1, 1, 1]])], COPIED)
    two = save_records(
        tmp_path / "a_1.pt", [pass_record(3, [[10, 0, 0, 0], [0, 0, 5, 6]], rank=1)], COPIED
    )
    source = sglang_recorder.source([one, two], NO_OPTIONS)
    [batch] = counts(source)
    assert batch.tokens_NLE.tolist() == [[[1 + 4 + 10, 2, 3], [1, 1, 1 + 1 + 5 + 6]]]
    assert [document.origin for document in batch.documents] == ["a_0.pt:pass 3"]
    assert kinds(source) == {"counts-only": 2, "last-map-only": 2, "physical-ids": 35}


def test_without_copies_nothing_is_said_of_maps(tmp_path: Path) -> None:
    dump = save_records(tmp_path / "a.pt", [pass_record(3, [[1, 2, 3, 4]] * 2)])
    source = sglang_recorder.source([dump], NO_OPTIONS)
    assert kinds(source) == {"counts-only": 1}
    assert source.physical_map_LP is None


def test_gaps_and_absent_ranks_are_missing_passes(tmp_path: Path) -> None:
    record = [[1, 2, 3, 4]] * 2
    one = save_records(tmp_path / "a_0.pt", [pass_record(number, record) for number in (1, 2, 5)])
    two = save_records(tmp_path / "a_1.pt", [pass_record(n, record, rank=1) for n in (1, 5)])
    missing = kinds(sglang_recorder.source([one, two], NO_OPTIONS))["missing-passes"]
    assert missing == 3  # passes 3 and 4, and 2 of rank 1


def test_a_sequence_of_a_prefill_is_a_document(tmp_path: Path) -> None:
    source = sglang_recorder.source([save_records(tmp_path / "a.pt", [prefill()])], NO_OPTIONS)
    [batch] = routing(source)
    assert batch.doc_id_T.tolist() == [0, 0, 1]
    assert batch.position_T.tolist() == [0, 1, 5]
    assert batch.token_id_T.tolist() == [11, 12, 13]
    assert batch.phase_T.tolist() == [PREFILL] * 3
    assert batch.expert_ids_TLK.tolist() == [[[0, 1], [2, 3]], [[1, 2], [3, 0]], [[3, 1], [0, 2]]]
    assert [document.origin for document in batch.documents] == [
        "a.pt:pass 7, sequence 1",
        "a.pt:pass 7, sequence 2",
    ]
    assert (source.layers[0].top_k, source.layers[0].num_experts) == (2, 4)
    assert kinds(source) == {"passes-as-texts": 1}


def test_a_token_of_a_decoding_pass_is_a_document_at_its_position(tmp_path: Path) -> None:
    dump = save_records(tmp_path / "a.pt", [prefill(), decode()])
    [batch] = routing(sglang_recorder.source([dump], NO_OPTIONS))
    assert batch.doc_id_T.tolist() == [0, 0, 1, 2, 3]
    assert batch.position_T.tolist() == [0, 1, 5, 2, 6]
    assert batch.phase_T.tolist() == [PREFILL] * 3 + [DECODE] * 2
    assert batch.documents[3].origin == "a.pt:pass 8, token 2"


def test_a_sequence_of_one_token_in_a_mixed_pass_is_decoded(tmp_path: Path) -> None:
    dump = save_records(tmp_path / "a.pt", [prefill() | {"forward_mode": MIXED}])
    [batch] = routing(sglang_recorder.source([dump], NO_OPTIONS))
    assert batch.phase_T.tolist() == [PREFILL, PREFILL, DECODE]


def test_drafts_and_padding_are_left_out_and_counted(tmp_path: Path) -> None:
    draft = decode(8) | {"forward_mode": VERIFY}
    padded = prefill(9) | {"extend_seq_lens": [2]}
    source = sglang_recorder.source(
        [save_records(tmp_path / "a.pt", [prefill(), draft, padded])], NO_OPTIONS
    )
    assert [len(batch.doc_id_T) for batch in routing(source)] == [3 + 2]
    assert kinds(source) == {"passes-as-texts": 2, "draft-tokens": 2, "padding-rows": 1}


def test_an_idle_pass_is_no_document(tmp_path: Path) -> None:
    idle = token_record(6, [], token_ids=[], positions=[], lengths=None, mode=IDLE)
    source = sglang_recorder.source(
        [save_records(tmp_path / "a.pt", [idle, prefill()])], NO_OPTIONS
    )
    assert [len(batch.documents) for batch in routing(source)] == [2]


def test_ranks_with_the_same_tokens_are_one_and_must_agree(tmp_path: Path) -> None:
    one = save_records(tmp_path / "a_0.pt", [prefill()])
    same = save_records(tmp_path / "a_1.pt", [prefill(rank=1)])
    other = save_records(tmp_path / "a_2.pt", [prefill(rank=1, first=3)])
    agreed = sglang_recorder.source([one, same], NO_OPTIONS)
    assert [len(batch.doc_id_T) for batch in routing(agreed)] == [3]
    assert "ranks-disagree" not in kinds(agreed)
    apart = sglang_recorder.source([one, other], NO_OPTIONS)
    assert kinds(apart)["ranks-disagree"] == 1
    assert routing(apart)[0].expert_ids_TLK[0, 0].tolist() == [0, 1]  # of rank 0


def test_ranks_with_their_own_tokens_are_both_kept(tmp_path: Path) -> None:
    one = save_records(tmp_path / "a_0.pt", [prefill()])
    own = save_records(tmp_path / "a_1.pt", [prefill(rank=1) | {"input_ids": [1, 2, 3]}])
    [batch] = routing(sglang_recorder.source([one, own], NO_OPTIONS))
    assert batch.token_id_T.tolist() == [11, 12, 13, 1, 2, 3]
    assert batch.doc_id_T.tolist() == [0, 0, 1, 2, 2, 3]


def test_physical_ids_stay_and_their_map_is_given(tmp_path: Path) -> None:
    dump = save_records(tmp_path / "a.pt", [prefill()], COPIED)
    source = sglang_recorder.source([dump], NO_OPTIONS)
    assert source.physical_map_LP is not None
    assert source.physical_map_LP.tolist() == [list(row) for row in COPIED]
    assert source.layers[0].num_experts == 3
    assert routing(source)[0].expert_ids_TLK.max() == 3


def test_without_a_map_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    dump = save_records(tmp_path / "a.pt", [prefill()], None)
    with pytest.raises(ValueError, match=r"^a.pt has no map .*; give --num-experts$"):
        sglang_recorder.source([dump], NO_OPTIONS)
    assert sglang_recorder.source([dump], Options(num_experts=4)).layers[0].num_experts == 4


def test_long_passes_come_in_batches_of_whole_sequences(tmp_path: Path) -> None:
    tokens = 150_000  # of 2 layers and 2 choices; a million choices are 250,000 tokens
    chosen = [[[0, 1], [2, 3]]] * tokens
    lengths = [100_000, 50_000]
    positions = [*range(100_000), *range(50_000)]
    records = [
        token_record(n, chosen, token_ids=positions, positions=positions, lengths=lengths, mode=1)
        for n in (1, 2, 3)
    ]
    source = sglang_recorder.source([save_records(tmp_path / "a.pt", records)], NO_OPTIONS)
    batches = routing(source)
    assert [len(batch.doc_id_T) for batch in batches] == [300_000, 150_000]
    assert [len(batch.documents) for batch in batches] == [4, 2]
    assert np.concatenate([np.unique(batch.doc_id_T) for batch in batches]).tolist() == [*range(6)]


def test_all_bytes_of_the_files_are_counted_as_read(tmp_path: Path) -> None:
    for name, dump in {
        "stat": save_stat(tmp_path / "s.pt", [[[1, 2]]]),
        "per_pass": save_records(tmp_path / "p.pt", [pass_record(1, [[1, 2, 3, 4]] * 2)]),
        "per_token": save_records(tmp_path / "t.pt", [prefill()]),
    }.items():
        meter = Meter(dump.size)
        list(sglang_recorder.source([dump], NO_OPTIONS).batches(meter))
        assert meter.done == dump.size, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [0, 1]}, "has 3 input_ids, 2 positions"),
        ({"positions": [1, 0, 5]}, "position 0 follows 1 in a sequence"),
        ({"positions": [0, 1, -5]}, "positions has -5; expected are integers from 0"),
        ({"input_ids": [1, 2, True]}, "input_ids is other values than integers"),
        ({"input_ids": [1, 2, 2.0]}, "input_ids is other values than integers"),
        ({"input_ids": "abc"}, "input_ids is str; expected is a list"),
        ({"input_ids": [1, 2, 2**70]}, f"input_ids has {2**70}"),
        ({"extend_seq_lens": [2, 2]}, "extend_seq_lens sum to 4, of 3 tokens"),
        ({"extend_seq_lens": None}, "forward_mode 1 and no extend_seq_lens"),
        ({"forward_mode": None}, "forward_mode is NoneType"),
        ({"forward_pass_id": -1}, "forward_pass_id is -1"),
        ({"topk_ids_of_layer": [[1]]}, "topk_ids_of_layer is a list; expected is a tensor"),
        ({"gatherer_key": "other"}, "gatherer_key that is not 'primary'"),
    ],
)
def test_a_record_that_is_wrong_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    dump = save_records(tmp_path / "a.pt", [prefill() | change])
    with pytest.raises(ValueError, match=f"^a.pt: record 1.*{message}") as refusal:
        sglang_recorder.source([dump], NO_OPTIONS)
    assert "\n" not in str(refusal.value)


def test_more_choices_than_the_first_passes_have_are_refused(tmp_path: Path) -> None:
    wide = token_record(
        9, [[[0, 1, 2], [2, 3, 0]]], token_ids=[1], positions=[0], lengths=[1], mode=EXTEND
    )
    records = [*(prefill(n) for n in (1, 2, 3, 4)), wide]
    source = sglang_recorder.source([save_records(tmp_path / "a.pt", records)], NO_OPTIONS)
    with pytest.raises(ValueError, match=r"record 5 \(pass 9\) has tokens of more than 2 choices"):
        routing(source)


def test_dumps_with_different_maps_are_refused_by_name(tmp_path: Path) -> None:
    one = save_records(tmp_path / "a.pt", [prefill(1)])
    two = save_records(tmp_path / "b.pt", [prefill(2)], COPIED)
    with pytest.raises(ValueError, match=r"^a.pt and b.pt have different maps"):
        sglang_recorder.source([one, two], NO_OPTIONS)


def test_one_pass_twice_of_a_rank_is_refused_by_name(tmp_path: Path) -> None:
    one, two = (save_records(tmp_path / name, [prefill()]) for name in ("a.pt", "b.pt"))
    with pytest.raises(ValueError, match=r"^a.pt: record 1.* and b.pt: record 1.* of rank 0"):
        sglang_recorder.source([one, two], NO_OPTIONS)


def test_files_of_two_modes_or_models_are_refused_by_name(tmp_path: Path) -> None:
    stat = save_stat(tmp_path / "s.pt", [[[1, 2]]])
    other = save_stat(tmp_path / "o.pt", [[[1, 2, 3]]])
    token = save_records(tmp_path / "t.pt", [prefill()])
    with pytest.raises(ValueError, match=r"^s.pt is of mode stat, t.pt of per_token"):
        sglang_recorder.source([stat, token], NO_OPTIONS)
    with pytest.raises(ValueError, match=r"^s.pt counts 1 layer of 2 experts, o.pt 1 .* of 3"):
        sglang_recorder.source([stat, other], NO_OPTIONS)


def test_negative_counts_and_none_at_all_are_refused(tmp_path: Path) -> None:
    negative = save_stat(tmp_path / "a.pt", [[[1, 2]], [[1, -2]]])
    with pytest.raises(ValueError, match=r"^a.pt: step 2 has counts from -2 to 1"):
        counts(sglang_recorder.source([negative], NO_OPTIONS))
    empty = save_stat(tmp_path / "b.pt", [[[0, 0]]])
    with pytest.raises(ValueError, match=r"^b.pt counts no choice; record while requests run"):
        counts(sglang_recorder.source([empty], NO_OPTIONS))


def test_a_map_that_does_not_fit_the_records_is_refused(tmp_path: Path) -> None:
    dump = save_records(tmp_path / "a.pt", [prefill()], [[0, 1, 2, 3]])
    with pytest.raises(ValueError, match=r"_map is \[1, 4\], records are of 2 layers"):
        sglang_recorder.source([dump], NO_OPTIONS)
    negative = save_records(tmp_path / "b.pt", [prefill()], [[0, 1, 2, -3]] * 2)
    with pytest.raises(ValueError, match=r"^b.pt: last_physical_to_logical_map is -3 to 2"):
        sglang_recorder.source([negative], NO_OPTIONS)
