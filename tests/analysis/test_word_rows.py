"""Against the tiny trace of tests/traces.py: " 1" is the third token of documents 0 and 1."""

import duckdb
import pandas as pd
import pytest

from analysis import word_rows


def test_words_are_counted_the_most_frequent_first(tiny: duckdb.DuckDBPyConnection) -> None:
    words = word_rows.token_texts(tiny)
    assert words.text.tolist() == [" 1", " +", " =", " x", "1", "hi", "x"]
    assert words.tokens.tolist() == [2, 1, 1, 1, 1, 1, 1]
    of_two = word_rows.token_texts(tiny, doc_ids=[1, 2])
    assert of_two.text.tolist() == [" 1", " =", " x", "hi", "x"]
    assert of_two.tokens.tolist() == [1] * 5
    assert word_rows.token_texts(tiny, doc_ids=[]).empty


def test_a_token_without_text_is_a_word_by_its_number_or_its_name(
    writable: duckdb.DuckDBPyConnection,
) -> None:
    writable.execute("UPDATE file.token SET text = NULL WHERE doc_id = 0")
    writable.execute("UPDATE file.token SET text = '', special = '<s>' WHERE text = 'hi'")
    writable.execute("UPDATE file.token SET text = NULL, token_id = NULL WHERE text = ' x'")
    assert word_rows.token_texts(writable).text.tolist() == [
        " 1",
        " =",
        "#1",
        "#2",
        "#3",
        "<s>",
        "x",
    ]
    assert word_rows.word_documents(writable, "#3").doc_id.tolist() == [0]
    assert word_rows.word_places(writable, "<s>", [2]).position.tolist() == [0]


def test_documents_with_a_word_are_drawn_until_they_hold_it_often_enough(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    held = word_rows.word_documents(tiny, " 1")
    assert held.to_dict("list") == {"doc_id": [0, 1], "tokens": [1, 1]}
    assert word_rows.drawn(held).doc_id.tolist() == [0, 1]
    assert word_rows.drawn(held, most=1).doc_id.tolist() == [0]
    assert word_rows.drawn(held, documents=1).doc_id.tolist() == [0]
    assert word_rows.word_documents(tiny, "1 ").empty


def test_choices_of_a_word_are_those_of_its_occurrences(tiny: duckdb.DuckDBPyConnection) -> None:
    choices = word_rows.word_choices(tiny, " 1", [0, 1])
    assert list(map(tuple, choices.to_numpy())) == [
        *((0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 1)),
        *((1, 0, 1, 1), (1, 0, 2, 1), (1, 1, 2, 1), (1, 1, 3, 1)),
    ]
    assert set(word_rows.word_choices(tiny, " 1", [1]).doc_id) == {1}


def test_contexts_come_in_the_order_asked_for(tiny: duckdb.DuckDBPyConnection) -> None:
    contexts = word_rows.token_contexts(tiny, [1, 0], [2, 0])
    assert contexts.to_dict("records") == [
        {"doc_id": 1, "position": 2, "domain": "code", "before": "x =", "text": " 1", "after": ""},
        {"doc_id": 0, "position": 0, "domain": "math", "before": "", "text": "1", "after": " + 1"},
    ]


def test_a_phrase_is_found_with_the_token_in_which_it_begins(
    tiny: duckdb.DuckDBPyConnection,
) -> None:
    assert word_rows.phrase_documents(tiny, "(?i)X") == [1, 2]
    excerpts = word_rows.phrase_excerpts(tiny, "1", [0, 1])
    assert excerpts.matches.tolist() == [2, 1]
    assert excerpts.position.tolist() == [0, 2]  # "1", and " 1" of "x = 1"
    assert excerpts.before.tolist() == ["", "x = "]
    assert excerpts["match"].tolist() == ["1", "1"]
    assert excerpts.after.tolist() == [" + 1", ""]


def test_the_mark_is_where_an_expression_matches_and_not_where_its_match_stands_first(
    writable: duckdb.DuckDBPyConnection,
) -> None:
    writable.execute("UPDATE file.document SET text = 'a1 b1' WHERE doc_id = 0")
    (row,) = word_rows.phrase_excerpts(writable, r"1$", [0]).to_dict("records")
    assert (row["before"], row["match"], row["after"]) == ("a1 b", "1", "")


def test_a_match_in_the_part_that_was_cut_has_no_token(
    writable: duckdb.DuckDBPyConnection,
) -> None:
    writable.execute("UPDATE file.document SET text = text || ' and more' WHERE doc_id = 0")
    excerpts = word_rows.phrase_excerpts(writable, "more", [0])
    assert excerpts.position.isna().all()
    assert excerpts.before.tolist() == ["1 + 1 and "]


def test_words_are_counted_by_document_and_group(writable: duckdb.DuckDBPyConnection) -> None:
    writable.execute(
        """UPDATE file.document SET domain = 'math', "group" = 'one' WHERE doc_id < 2"""
    )
    counts = word_rows.word_counts(writable, longest=1).set_index("text")
    assert set(counts.index) == {"1", "x"}  # of one character
    counts = word_rows.word_counts(writable, longest=9).set_index("text")
    assert counts.loc[[" 1"]].to_numpy().tolist() == [[2, 2, 1]]


@pytest.mark.parametrize("units", [[0, 1], [0, 0]])
def test_sums_of_a_word_are_over_units(tiny: duckdb.DuckDBPyConnection, units: list[int]) -> None:
    """Layer 0: document 0 chooses experts 0 and 1, document 1 experts 2 and 1."""
    table = pd.DataFrame(word_rows.word_sums(tiny, ["no", " 1"], [0, 1], units))
    of_layer = table[table.layer_id == 0].set_index("expert_id")
    assert set(of_layer.word) == {1}
    assert of_layer.tokens.to_dict() == {0: 1, 1: 2, 2: 1}
    together = units == [0, 0]
    assert of_layer.squares.to_dict() == {0: 1, 1: 4 if together else 2, 2: 1}
    length = 4 if together else 2
    assert of_layer.by_length.to_dict() == {0: length, 1: 2 * length, 2: length}


def test_loads_are_those_of_the_texts_asked_for(tiny: duckdb.DuckDBPyConnection) -> None:
    every = word_rows.load_of(tiny, [0, 1, 2])
    assert every[every.layer_id == 0].tokens.tolist() == [5, 8, 3]
    first = word_rows.load_of(tiny, [0])
    assert first[first.layer_id == 0].tokens.sum() == 3 * 2
    assert word_rows.load_of(tiny, []).empty
