"""Against the tiny trace of tests/traces.py, whose tables say what is expected here."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from analysis import arrays, asked, document_rows, domain_names, expert_words, queries, word_rows
from data.routing import NO_EXPERT
from data.trace_format import FORMAT_VERSION
from data.trace_views import Source, create_views
from tests.data.stored import as_format_3, as_format_4, as_format_5, as_format_7
from tests.traces import SCHEMA, seen

QUESTIONS = sorted(asked.SQL.glob("*.sql"))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda path: path.stem)
def test_every_question_prepares_against_the_schema(question: Path) -> None:
    with duckdb.connect() as con:
        con.execute("ATTACH ':memory:' AS file")
        con.execute("USE file")
        con.execute(SCHEMA.read_text())
        con.execute("USE memory")
        create_views(con, [Source("file.main", FORMAT_VERSION)])
        con.execute("CREATE TEMP TABLE domain_place (doc_id UINTEGER, place UTINYINT)")
        con.execute(f"PREPARE question AS {question.read_text()}")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda path: path.stem)
def test_every_question_says_what_a_row_means_and_has_a_function(question: Path) -> None:
    assert question.read_text().startswith("-- ")
    of_experts = {"document_sample", "expert_contexts", "expert_top_tokens"}
    asking = [expert_words] if question.stem in of_experts else [queries, document_rows, word_rows]
    assert question.stem == "domains" or any(hasattr(one, question.stem) for one in asking)


def test_trace_info(tiny: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(tiny)
    assert (info.num_layers, info.num_experts, info.top_k) == (2, 4, 2)
    assert (info.num_documents, info.num_tokens) == (3, 8)
    assert info.domains == ("math", "code", "unlabelled")
    assert info.config == {"seed": 7}
    assert info.trace_id == "0123"


def test_a_trace_without_an_id_has_one_of_its_own(tiny_trace: Path, tmp_path: Path) -> None:
    with seen(as_format_4(Path(shutil.copy(tiny_trace, tmp_path)))) as con:
        first = queries.trace_info(con).trace_id
        assert len(first) == 32
        assert queries.trace_info(con).trace_id == first
        con.execute("UPDATE file.trace SET created_at = TIMESTAMP '2026-01-02 03:04:06'")
        assert queries.trace_info(con).trace_id != first


def test_own_domains_come_after_the_six_and_before_the_unlabelled() -> None:
    found = ["unlabelled", "law", "other", "biology", "math"]
    ordered = sorted(found, key=domain_names.order)
    assert ordered == ["math", "other", "biology", "law", "unlabelled"]


def test_documents(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.documents(tiny)
    assert frame.tokens.tolist() == [3, 3, 2]
    assert frame.domain.tolist() == ["math", "code", "unlabelled"]
    assert frame.text.tolist() == ["1 + 1", "x = 1", "hi x"]


def test_document_text_of_an_unknown_document_is_refused(tiny: duckdb.DuckDBPyConnection) -> None:
    assert queries.document_text(tiny, 1) == "x = 1"
    with pytest.raises(ValueError, match="no document 9"):
        queries.document_text(tiny, 9)


def test_domain_tokens(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.domain_tokens(tiny)
    assert frame.domain.tolist() == ["math", "code", "unlabelled"]
    assert frame.tokens.tolist() == [3, 3, 2]
    assert frame.mean_loss.tolist() == [1.5, 2.0, 4.0]  # of the tokens whose loss is known


def test_expert_tokens_keeps_dead_experts(tiny: duckdb.DuckDBPyConnection) -> None:
    tokens_LE = arrays.load_array(queries.expert_tokens(tiny), queries.trace_info(tiny))
    assert tokens_LE.tolist() == [[5, 8, 3, 0], [4, 4, 4, 4]]


def test_expert_tokens_of_one_phase_and_of_one_domain(tiny: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(tiny)
    decoded = arrays.load_array(queries.expert_tokens(tiny, phase="decode"), info)
    assert decoded.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1]]
    unlabelled = arrays.load_array(queries.expert_tokens(tiny, domain="unlabelled"), info)
    assert unlabelled.tolist() == [[2, 2, 0, 0], [1, 1, 1, 1]]


def test_expert_tokens_refuses_an_unknown_phase(tiny: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="prefill"):
        queries.expert_tokens(tiny, phase="training")


def test_expert_domain_tokens_has_every_combination(tiny: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(tiny)
    frame = queries.expert_domain_tokens(tiny)
    assert len(frame) == 2 * 4 * 3
    tokens_LEG = arrays.domain_array(frame, info)
    assert tokens_LEG[0].tolist() == [[3, 0, 2], [3, 3, 2], [0, 3, 0], [0, 0, 0]]


def test_document_routing(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.document_routing(tiny, 1)
    assert len(frame) == 3 * 2 * 2
    last = frame[(frame.position == 2) & (frame.layer_id == 1)]
    assert last.expert_id.tolist() == [2, 3]
    assert last.weight.tolist() == pytest.approx([0.9, 0.1])
    assert last.entropy.tolist() == [0.5, 0.5]


def test_top_tokens_are_those_above_the_experts_load(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = expert_words.expert_top_tokens(tiny, 0, 2)  # chosen by 3 of 8 tokens: 3/8 are expected
    assert frame.text.tolist() == ["x", " =", " 1"]
    assert frame.expected.tolist() == [0.375, 0.375, 0.75]
    assert frame.share_of_token.tolist() == [1.0, 1.0, 0.5]  # " 1" is in document 0 too
    assert frame.mean_weight.tolist() == pytest.approx([0.75, 0.75, 0.9])


def test_top_tokens_are_limited(tiny: duckdb.DuckDBPyConnection) -> None:
    assert len(expert_words.expert_top_tokens(tiny, 0, 2, limit=1)) == 1


def test_contexts_show_the_strongest_token_of_each_document(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    frame = expert_words.expert_contexts(tiny, 1, 2)
    first, second = frame.to_dict("records")
    assert (first["doc_id"], first["before"], first["text"], first["after"]) == (1, "x =", " 1", "")
    assert (second["doc_id"], second["before"], second["text"]) == (2, "", "hi")
    assert second["after"] == " x"


def test_words_of_an_expert_are_of_whole_documents_until_they_hold_so_many_tokens(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    sample = expert_words.document_sample(tiny, tokens=1)
    assert len(sample) == 1
    contexts = expert_words.expert_contexts(tiny, 0, 1, tokens=1)
    assert set(contexts.doc_id) <= set(sample.doc_id)
    tokens = expert_words.expert_top_tokens(tiny, 0, 1, tokens=1)
    assert tokens.tokens.sum() <= sample.tokens.sum()
    whole = expert_words.document_sample(tiny, tokens=8)
    assert (len(whole), whole.tokens.sum()) == (3, 8)
    for query in (expert_words.expert_top_tokens, expert_words.expert_contexts):
        pd.testing.assert_frame_equal(query(tiny, 0, 2, tokens=8), query(tiny, 0, 2))


def test_coactivation_has_every_pair(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.coactivation(tiny, 0)
    assert len(frame) == 6
    pairs_EE = arrays.pair_array(frame, 4)
    of_layers = arrays.layer_pairs(queries.all_pairs(tiny), queries.trace_info(tiny))
    assert of_layers[0].tolist() == pairs_EE.tolist()
    assert pairs_EE.tolist() == [[0, 5, 0, 0], [5, 0, 3, 0], [0, 3, 0, 0], [0, 0, 0, 0]]


def test_transitions_have_every_pair(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.transitions(tiny, 0)
    assert len(frame) == 16
    tokens_EE = frame.tokens.to_numpy().reshape(4, 4)
    assert tokens_EE[0].tolist() == [4, 4, 1, 1]  # 3 x (0, 1), then (0, 2) and (1, 3)
    assert tokens_EE[2].tolist() == [0, 0, 3, 3]
    assert queries.transitions(tiny, 1).empty


def test_gate_summary(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.gate_summary(tiny)
    assert frame.mean_entropy.tolist() == [1.0, 0.5]
    assert frame.mean_margin.tolist() == [0.5, 0.5]


def test_a_trace_is_read_in_parts_that_end_within_documents(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    tokens = queries.tokens_by_domain(tiny)
    places = list(zip(tokens.doc_id.tolist(), tokens.position.tolist(), strict=True))
    ends = [(places[0], places[1]), (places[2], places[3])]
    parts = [
        pd.concat(batch.to_pandas() for batch in document_rows.choice_lists(tiny, *both))
        for both in ends
    ]
    read = [set(zip(part.doc_id, part.position, strict=True)) for part in parts]
    assert read == [set(places[:2]), set(places[2:4])]
    some = queries.document_load_part(tiny, 1, 2)
    every = queries.document_load(tiny).query("doc_id >= 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.DataFrame(some), every, check_dtype=False)
    assert queries.tokens_by_domain(tiny, doc_ids=[2]).doc_id.unique().tolist() == [2]


def test_sampled_tokens_keep_the_order_of_the_sample(tiny: duckdb.DuckDBPyConnection) -> None:
    sample = pd.DataFrame({"doc_id": [2, 0], "position": [1, 0]})
    choices = pd.DataFrame(queries.token_choices(tiny, sample))
    choices = choices.query("layer_id == 1 and rank == 0")
    assert choices.set_index("point").expert_id.to_dict() == {0: 1, 1: 0}


def test_domain_k_counts_tokens_by_the_experts_they_run(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.domain_k(tiny)
    found = frame[frame.layer_id == 0].drop(columns="layer_id").to_numpy().tolist()
    assert found == [["math", 2, 3], ["code", 2, 3], ["unlabelled", 2, 2]]


def test_document_load_adds_the_phases(tiny: duckdb.DuckDBPyConnection) -> None:
    load = queries.document_load(tiny).query("doc_id == 2 and layer_id == 0")
    assert load.expert_id.tolist() == [0, 1]
    assert load.tokens.tolist() == [2, 2]


def test_layer_choices_as_an_array(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.layer_choices(tiny, 0)
    assert frame.columns.tolist() == ["unit", "doc_id", "position", "token_id", "rank", "expert_id"]
    chosen_TE, document_T = arrays.choice_array(frame, 4)
    assert chosen_TE.astype(int)[[0, 3]].tolist() == [[1, 1, 0, 0], [0, 1, 1, 0]]
    assert document_T.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_choices_of_two_layers_are_of_the_tokens_that_chose_in_both(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    here, following = queries.layer_choices(tiny, 0), queries.layer_choices(tiny, 1)
    here_TE, next_TE, document_T = arrays.transition_choices(here, following, (4, 4))
    transitions = queries.transitions(tiny, 0).tokens.tolist()
    assert (here_TE.T.astype(int) @ next_TE).ravel().tolist() == transitions
    some = following[following.doc_id != 1]
    here_TE, next_TE, document_T = arrays.transition_choices(here, some, (4, 4))
    assert document_T.tolist() == [0, 0, 0, 2, 2]
    assert here_TE.sum() == next_TE.sum() == 10


def test_layer_choices_of_a_sample_are_whole_documents(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.layer_choices(tiny, 0, documents=2)
    assert frame.groupby("doc_id").position.nunique().to_dict() == {0: 3, 1: 3}


def test_choices_by_token_id(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.token_id_choices(tiny, 1).query("token_id == 3")  # " 1" is in two documents
    assert frame.doc_id.tolist() == [0, 0, 1, 1]
    assert frame.expert_id.tolist() == [0, 1, 2, 3]
    assert frame.tokens.tolist() == [1, 1, 1, 1]
    assert frame.first_tokens.tolist() == [1, 0, 1, 0]


def test_choices_by_token_id_of_so_many_tokens(tiny: duckdb.DuckDBPyConnection) -> None:
    read = {
        limit: set(queries.token_id_choices(tiny, 1, tokens=limit).doc_id) for limit in (1, 4, 7)
    }
    assert read == {1: {0}, 4: {0, 1}, 7: {0, 1, 2}}  # whole documents of 3, 3 and 2 tokens


def test_first_choices_by_token_id(tiny: duckdb.DuckDBPyConnection) -> None:
    ids = queries.token_ids(tiny)
    tokens_VE = arrays.first_choice_array(queries.token_id_choices(tiny, 1), ids, 4)
    assert tokens_VE[2].tolist() == [1, 0, 1, 0]  # " 1" in documents 0 and 1
    assert tokens_VE.sum() == 8


def test_token_ids(tiny: duckdb.DuckDBPyConnection) -> None:
    frame = queries.token_ids(tiny)
    assert frame.text.tolist() == ["1", " +", " 1", "x", " =", "hi", " x"]
    assert frame.tokens.tolist() == [1, 1, 2, 1, 1, 1, 1]


def test_every_question_has_an_answer_on_an_empty_trace(empty: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(empty)
    assert info.domains == ()
    assert arrays.load_array(queries.expert_tokens(empty), info).sum() == 0
    assert arrays.domain_array(queries.expert_domain_tokens(empty), info).shape == (2, 4, 0)
    for question in (queries.documents, queries.domain_tokens, queries.gate_summary):
        assert question(empty).empty
    assert expert_words.expert_top_tokens(empty, 0, 0).empty
    assert expert_words.expert_contexts(empty, 0, 0).empty
    assert queries.coactivation(empty, 0).tokens.tolist() == [0] * 6
    chosen_TE, _ = arrays.choice_array(queries.layer_choices(empty, 0), 4)
    assert chosen_TE.shape == (0, 4)
    assert queries.token_id_choices(empty, 0).empty
    assert queries.token_ids(empty).empty


def test_a_token_without_text_is_called_by_its_name(writable: duckdb.DuckDBPyConnection) -> None:
    writable.execute("UPDATE file.token SET text = '', special = '<s>' WHERE token_id = 1")
    writable.execute("UPDATE file.token SET text = '' WHERE token_id = 2")
    ids = queries.token_ids(writable).set_index("token_id").text
    assert ids[:3].tolist() == ["<s>", "∅", " 1"]
    top = expert_words.expert_top_tokens(writable, 0, 0).set_index("token_id").text
    assert top[1] == "<s>"
    assert queries.tokens_by_domain(writable).text[:2].tolist() == ["<s>", "∅"]
    context = expert_words.expert_contexts(writable, 0, 0).set_index("doc_id").loc[0]
    assert (context.text, context.before, context.after) == ("<s>", "", " 1")


def test_a_token_that_chose_nothing_in_a_layer_has_a_row_there(
    writable: duckdb.DuckDBPyConnection,
) -> None:
    writable.execute(
        "UPDATE file.decision SET expert_ids = [], weights = [] "
        "WHERE doc_id = 0 AND position = 1 AND layer_id = 1"
    )
    writable.execute("UPDATE file.token SET special = '<s>' WHERE position = 0")
    frame = queries.document_routing(writable, 0)
    nothing = frame[frame.expert_id == NO_EXPERT]
    assert nothing[["position", "layer_id", "weight", "dropped"]].values.tolist() == [
        [1, 1, 0.0, False]
    ]
    assert frame.special[frame.position == 0].unique().tolist() == ["<s>"]
    assert frame.special[frame.position > 0].isna().all()


def test_the_layers_of_a_trace_of_an_older_format(tiny_trace: Path, tmp_path: Path) -> None:
    with seen(as_format_5(Path(shutil.copy(tiny_trace, tmp_path)))) as con:
        assert queries.trace_info(con).layer_sizes.tolist() == [4, 4]
        assert queries.token_ids(con).text[0] == "1"
        assert queries.document_routing(con, 0).special.isna().all()


@pytest.mark.parametrize("older", [as_format_3, as_format_7])
def test_a_trace_of_an_older_format_gives_the_same_answers(
    older: Callable[[Path], Path], tiny_trace: Path, tmp_path: Path
) -> None:
    sample = pd.DataFrame({"doc_id": [1, 2], "position": [2, 0]})
    with seen(tiny_trace) as now, seen(older(Path(shutil.copy(tiny_trace, tmp_path)))) as then:
        for question in (
            queries.documents,
            queries.domain_tokens,
            queries.gate_summary,
            queries.document_gate,
            partial(queries.document_routing, doc_id=1),
            partial(queries.layer_choices, layer_id=1),
            partial(queries.token_id_choices, layer_id=0),
            partial(expert_words.expert_contexts, layer_id=0, expert_id=1),
            lambda con: pd.DataFrame(queries.token_choices(con, sample)),
        ):
            first, second = (question(con).convert_dtypes() for con in (now, then))
            order = list(first.columns)
            pd.testing.assert_frame_equal(
                first.sort_values(order, ignore_index=True),
                second.sort_values(order, ignore_index=True),
            )
