"""Each finding comes of a dump that is wrong in just that way, and none of a dump that is right."""

from pathlib import Path

import numpy as np
import pytest

from data.importers.checks.findings import KINDS
from data.importers.source import Options
from data.routing import FATAL, NO_EXPERT
from tests.data.importers.sources import batch, counts, read, routed

TOKENS = 40


def test_a_right_dump_has_no_findings_and_stays_as_it_is() -> None:
    ids_TLK = routed(600)
    weights_TLK = np.broadcast_to([0.7, 0.3], ids_TLK.shape)
    [given], findings = read([batch(ids_TLK, weights_TLK=weights_TLK)])
    assert findings == {}
    np.testing.assert_array_equal(given.expert_ids_TLK, ids_TLK)
    np.testing.assert_array_equal(given.weights_TLK, weights_TLK.astype(np.float32))


def test_rows_of_minus_one_have_no_row() -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[:3] = NO_EXPERT
    [given], findings = read([batch(ids_TLK)])
    assert set(findings) == {"missing-rows"}
    assert findings["missing-rows"].occurrences == 3
    assert findings["missing-rows"].first_example == "dump.bin:1, token 0"
    assert given.position_T.tolist() == list(range(3, TOKENS))
    assert len(given.documents) == 1


def test_rows_of_zeros_have_no_row() -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[[5, 6]] = 0
    [given], findings = read([batch(ids_TLK)])
    assert {kind: found.occurrences for kind, found in findings.items()} == {"zero-rows": 2}
    assert 5 not in given.position_T


def test_one_choice_a_token_may_be_expert_0() -> None:
    ids_TLK = routed(TOKENS, top_k=1)
    ids_TLK[:4] = 0
    [given], findings = read([batch(ids_TLK)])
    assert findings == {}
    assert len(given.doc_id_T) == TOKENS


@pytest.mark.parametrize(
    ("layers", "kind", "kept"),
    [
        (None, "zero-layers", ["layers.1", "layers.2"]),
        ("all", "dense-layers", ["layers.1", "layers.2"]),
        ("moe", "missed-layers", ["layers.0", "layers.1", "layers.2"]),
    ],
)
def test_a_layer_of_zeros_is_dense_or_missed_as_the_user_says(
    layers: str | None, kind: str, kept: list[str]
) -> None:
    from data.importers.checks.integrity import Checked
    from data.importers.source import Meter
    from tests.data.importers.sources import source

    ids_TLK = routed(300, layers=3)
    ids_TLK[:, 0] = 0
    checked = Checked(source([batch(ids_TLK)]), Options(layers=layers), Meter())
    [given] = checked.batches()
    found = {one.kind: one for one in given.findings}
    assert kind in found
    assert found[kind].first_example == "layers.0"
    assert [layer.name for layer in checked.layers] == kept
    assert (found[kind].severity == FATAL) == (layers == "moe")
    assert set(found) == {kind}


def test_a_layer_of_zeros_that_wakes_up_later_is_refused() -> None:
    early, late = routed(1_200), routed(TOKENS, seed=1)
    early[:, 1] = 0
    with pytest.raises(ValueError, match=r"layers\.1 names expert 0 alone .*--layers moe"):
        read([batch(early), batch(late, doc_id=1)])


def test_nothing_but_zeros_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        read([batch(np.zeros((TOKENS, 2, 2), int))])


def test_a_single_decision_of_zeros_has_no_choices() -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[7, 1] = 0
    [given], findings = read([batch(ids_TLK)])
    assert set(findings) == {"zero-decisions"}
    assert findings["zero-decisions"].first_example == "dump.bin:1, token 7, layers.1: 0, 0"
    assert given.expert_ids_TLK[7, 1].tolist() == [NO_EXPERT, NO_EXPERT]
    np.testing.assert_array_equal(given.expert_ids_TLK[7, 0], ids_TLK[7, 0])


def test_an_expert_chosen_twice_takes_its_decision_out() -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[3, 0] = 5
    [given], findings = read([batch(ids_TLK)])
    assert {kind: found.occurrences for kind, found in findings.items()} == {"repeated-experts": 1}
    assert given.expert_ids_TLK[3, 0].tolist() == [NO_EXPERT, NO_EXPERT]


@pytest.mark.parametrize("wrong", [8, -2, 40_000])
def test_an_id_that_no_expert_has_is_fatal(wrong: int) -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[3, 0, 0] = wrong
    [given], findings = read([batch(ids_TLK)])
    assert set(findings) == {"unknown-experts"}
    assert findings["unknown-experts"].severity == FATAL
    assert given.expert_ids_TLK[3, 0].tolist() == [NO_EXPERT, NO_EXPERT]


def test_a_decision_of_too_few_experts_is_taken_out_where_their_number_is_fixed() -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[3, 0, 1] = NO_EXPERT
    _, findings = read([batch(ids_TLK)])
    assert set(findings) == {"incomplete-decisions"}
    [given], findings = read([batch(ids_TLK)], top_k_known=False)
    assert findings == {}
    assert given.expert_ids_TLK[3, 0, 1] == NO_EXPERT


def test_sixteen_rows_alike_are_named_and_kept() -> None:
    ids_TLK = routed(TOKENS, layers=4)
    ids_TLK[10:27] = ids_TLK[10]  # 16 that are as the one before
    [given], findings = read([batch(ids_TLK)])
    assert {kind: found.occurrences for kind, found in findings.items()} == {"constant-rows": 16}
    assert findings["constant-rows"].first_example == "dump.bin:1, token 11"
    assert len(given.doc_id_T) == TOKENS
    ids_TLK[26] = routed(1, layers=4, seed=9)
    assert read([batch(ids_TLK)])[1] == {}


def test_a_layer_in_which_all_tokens_choose_alike_is_named() -> None:
    ids_TLK = routed(300)
    ids_TLK[:, 1] = [3, 5]
    ids_TLK[::2, 1] = [5, 3]
    _, findings = read([batch(ids_TLK)])
    assert set(findings) == {"constant-layers"}
    assert findings["constant-layers"].first_example == "layers.1"


def test_physical_ids_become_those_of_the_experts_they_are_copies_of() -> None:
    map_LP = np.tile([0, 1, 2, 3, 4, 5, 6, 7, 3, 3], (2, 1))
    logical_TLK = routed(TOKENS)
    physical_TLK = np.where(logical_TLK == 3, 9, logical_TLK)
    [given], findings = read([batch(physical_TLK)], physical_map_LP=map_LP)
    assert findings["physical-ids"].occurrences == TOKENS * 2 * 2
    np.testing.assert_array_equal(given.expert_ids_TLK, logical_TLK)
    copies_P = np.bincount(physical_TLK[:, 0].ravel(), minlength=10)
    loads_E = np.bincount(given.expert_ids_TLK[:, 0].ravel(), minlength=8)
    assert loads_E[3] == copies_P[[3, 8, 9]].sum()


def test_two_copies_of_one_expert_are_one_expert_twice() -> None:
    map_LP = np.tile([0, 1, 2, 3, 4, 5, 6, 7, 3], (2, 1))
    ids_TLK = routed(TOKENS)
    ids_TLK[0, 0] = [3, 8]
    _, findings = read([batch(ids_TLK)], physical_map_LP=map_LP)
    assert findings["repeated-experts"].occurrences == 1


def test_copies_of_expert_0_alone_are_one_expert_twice_and_recorded() -> None:
    map_LP = np.tile([0, 1, 2, 3, 4, 5, 6, 7, 0], (2, 1))
    ids_TLK = routed(TOKENS)
    ids_TLK[0, 0] = [8, 0]
    _, findings = read([batch(ids_TLK)], physical_map_LP=map_LP)
    assert set(findings) == {"physical-ids", "repeated-experts"}


def test_negative_weights_are_named() -> None:
    ids_TLK = routed(TOKENS)
    weights_TLK = np.broadcast_to([0.7, 0.3], ids_TLK.shape).copy()
    weights_TLK[4, 1] = [1.2, -0.2]
    _, findings = read([batch(ids_TLK, weights_TLK=weights_TLK)])
    assert findings["weights-against-gate"].occurrences == 1


def test_ids_beyond_the_map_are_fatal() -> None:
    ids_TLK = routed(TOKENS)
    ids_TLK[0, 0, 0] = 12
    map_LP = np.tile(np.arange(8), (2, 1))
    assert "unknown-experts" in read([batch(ids_TLK)], physical_map_LP=map_LP)[1]


def test_weights_that_sum_otherwise_than_the_others_are_named() -> None:
    ids_TLK = routed(400)
    weights_TLK = np.full(ids_TLK.shape, 0.5)
    weights_TLK[9, 1] = 0.25
    _, findings = read([batch(ids_TLK, weights_TLK=weights_TLK)])
    assert {kind: found.occurrences for kind, found in findings.items()} == {
        "weights-against-gate": 1
    }
    assert findings["weights-against-gate"].first_example.startswith(
        "dump.bin:1, token 9, layers.1"
    )


def test_raw_probabilities_sum_to_at_most_one() -> None:
    ids_TLK = routed(TOKENS)
    weights_TLK = np.full(ids_TLK.shape, 0.2)
    assert read([batch(ids_TLK, weights_TLK=weights_TLK)], weights_sum="at most one")[1] == {}
    weights_TLK[2, 0] = 0.8
    found = read([batch(ids_TLK, weights_TLK=weights_TLK)], weights_sum="at most one")[1]
    assert found["weights-against-gate"].occurrences == 1


def test_choices_are_sorted_by_weight() -> None:
    ids_TLK = routed(TOKENS)
    weights_TLK = np.broadcast_to([0.7, 0.3], ids_TLK.shape).copy()
    weights_TLK[4, 1] = [0.4, 0.6]
    [given], findings = read([batch(ids_TLK, weights_TLK=weights_TLK)])
    assert {kind: found.occurrences for kind, found in findings.items()} == {"ranks-of-weights": 1}
    assert given.expert_ids_TLK[4, 1].tolist() == ids_TLK[4, 1, ::-1].tolist()
    assert given.weights_TLK[4, 1].tolist() == pytest.approx([0.6, 0.4])


def test_weights_that_are_no_numbers_are_refused_unless_allowed() -> None:
    ids_TLK = routed(TOKENS)
    weights_TLK = np.full(ids_TLK.shape, 0.5)
    weights_TLK[6, 1, 0] = np.nan
    raw = batch(ids_TLK, weights_TLK=weights_TLK)
    with pytest.raises(ValueError, match=r"dump\.bin:1, token 6, layers\.1: .* NaN or infinite"):
        read([raw])
    _, findings = read([raw], Options(allow_nonfinite=True))
    assert findings["non-finite"].severity == FATAL


def test_counts_that_are_no_multiple_of_the_chosen_are_named() -> None:
    tokens_NLE = np.full((3, 2, 8), 2)
    assert read([counts(tokens_NLE)])[1] == {}
    tokens_NLE[1, 0, 0] = 3
    _, findings = read([counts(tokens_NLE)])
    assert {kind: found.occurrences for kind, found in findings.items()} == {"uneven-counts": 1}
    assert findings["uneven-counts"].first_example == "dump.bin:2"


def test_layers_that_count_nothing_are_left_out() -> None:
    tokens_NLE = np.full((3, 2, 8), 2)
    tokens_NLE[:, 0] = 0
    [given], findings = read([counts(tokens_NLE)])
    assert set(findings) == {"zero-layers"}
    assert given.tokens_NLE.shape == (3, 1, 8)


def test_the_document_has_every_kind_as_the_report_words_it() -> None:
    document = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
    for kind, known in KINDS.items():
        assert f"| {kind} | {known.severity} | {known.effect} | {known.done} |" in document


def test_every_kind_says_what_it_does_and_what_was_done() -> None:
    for kind, known in KINDS.items():
        assert all((known.effect, known.done, known.unit)), kind
