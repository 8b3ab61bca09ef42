"""Texts of two traces and the tokens that they share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import queries
from analysis.matching import texts as module
from analysis.matching.choices import first_choices_at, second_choices_at
from analysis.matching.texts import CHARACTERS, TOKENS, MatchedTexts, matched_texts
from data.routing import Document, Finding
from data.store import TraceStore, open_trace
from tests.matched import Text, batch, opened, write_texts
from tests.routing_batches import batch_of, description
from tests.traces import write_choices, write_empty_trace

TO_BE = Text(pieces=["to", " be"])
OR_NOT = Text(pieces=["or", " not", "!"], domain="code", group="play")


def matched(folder: Path, first: list[Text], second: list[Text], **options: str) -> MatchedTexts:
    write_texts(folder / "first.duckdb", first)
    write_texts(folder / "second.duckdb", second, **options)  # type: ignore[arg-type]
    return matched_texts(opened(folder / "first.duckdb"), opened(folder / "second.duckdb"))


def test_equal_texts_are_found_whatever_their_numbers(tmp_path: Path) -> None:
    found = matched(tmp_path, [TO_BE, OR_NOT], [OR_NOT, Text(pieces=["that"]), TO_BE])
    assert (found.by, found.num_texts, found.of_texts) == (TOKENS, 2, (2, 3))
    assert found.first.text.iloc[found.row_P].tolist() == ["to", " be", "or", " not", "!"]
    assert found.second.text.iloc[found.other_row_P].tolist() == ["to", " be", "or", " not", "!"]
    assert found.size_P.tolist() == [1] * 5
    group_P, domain_N = found.groups()
    assert (group_P.tolist(), domain_N.tolist()) == ([0, 0, 1, 1, 1], [0, 1])
    assert found.in_words() == (
        "2 texts are in both traces (of 2 and 3). 5 of their 5 tokens are the same in both."
    )


def test_equal_texts_are_matched_in_their_order_and_one_too_many_is_left(tmp_path: Path) -> None:
    found = matched(tmp_path, [TO_BE, TO_BE], [TO_BE, TO_BE, TO_BE])
    assert found.first.doc_id.iloc[found.row_P].tolist() == [0, 0, 1, 1]
    assert found.second.doc_id.iloc[found.other_row_P].tolist() == [0, 0, 1, 1]


def test_a_text_that_begins_later_stands_where_its_positions_say(tmp_path: Path) -> None:
    whole = Text(pieces=["<s>", "to", " be", " or", " not"], starts=1, text="to be or not")
    later = Text(pieces=[" be", " or", " not"], begins=2, text="to be or not")
    found = matched(tmp_path, [whole], [later])
    assert found.first.position.iloc[found.row_P].tolist() == [2, 3, 4]
    assert found.second.text.iloc[found.other_row_P].tolist() == [" be", " or", " not"]
    without = Text(pieces=["to", " be", " or", " not"])
    found = matched(tmp_path / "start", [replace(whole, begins=0)], [without])
    assert found.first.position.iloc[found.row_P].tolist() == [1, 2, 3, 4]


def test_continuations_match_as_far_as_they_are_the_same(tmp_path: Path) -> None:
    one = Text(pieces=["to", " be", " or", " not", "."], generated=3)
    other = Text(pieces=["to", " be", " or", " is", "."], generated=3)
    found = matched(tmp_path, [one], [other])
    assert found.first.text.iloc[found.row_P].tolist() == ["to", " be", " or"]
    assert found.phases().tolist() == [0, 0, 1]
    assert found.by == TOKENS


def test_a_continuation_is_found_where_its_whole_text_was_read(tmp_path: Path) -> None:
    generated = Text(pieces=["to", " be", " or"], generated=1)
    read = Text(pieces=["to", " be", " or"])
    found = matched(tmp_path, [generated], [TO_BE, read])
    assert found.second.doc_id.iloc[found.other_row_P].tolist() == [1, 1, 1]


def test_a_start_token_that_one_trace_lacks_moves_nothing(tmp_path: Path) -> None:
    started = Text(pieces=["", "to", " be"], starts=1)
    found = matched(tmp_path, [TO_BE], [started])
    assert (found.by, found.size_P.tolist()) == (TOKENS, [1, 1])
    assert found.second.text.iloc[found.other_row_P].tolist() == ["to", " be"]
    both = matched_texts(opened(tmp_path / "second.duckdb"), opened(tmp_path / "second.duckdb"))
    assert both.size_P.tolist() == [1, 1, 1]


def test_other_tokenizers_are_matched_by_characters(tmp_path: Path) -> None:
    """café: c|afé and caf|é share c, af and é."""
    one = Text(pieces=["c", "afé"])
    other = Text(pieces=["caf", "", "é"])  # the first byte of é adds nothing
    split = Text(pieces=["o", "r not", "!"])
    found = matched(tmp_path, [one, TO_BE, OR_NOT], [other, TO_BE, split], tokenizer="other")
    assert (found.by, found.num_laid) == (CHARACTERS, 3)
    of_cafe = found.first.doc_id.iloc[found.row_P].to_numpy() == 0
    assert found.first.text.iloc[found.row_P[of_cafe]].tolist() == ["c", "afé", "afé"]
    assert found.second.text.iloc[found.other_row_P[of_cafe]].tolist() == ["caf", "caf", "é"]
    assert found.size_P[of_cafe].tolist() == [1, 2, 1]
    assert found.size_P.sum() == len("café") + len("to be") + len("or not!")
    assert "counted, by character: 16." in found.in_words()


def test_a_text_that_is_tokenized_otherwise_is_left_out(tmp_path: Path) -> None:
    split = Text(pieces=["t", "hat"])
    found = matched(
        tmp_path, [TO_BE, OR_NOT, split], [TO_BE, OR_NOT, Text(pieces=["t", "h", "at"])]
    )
    assert (found.by, found.num_read, found.num_laid) == (TOKENS, 3, 2)
    assert found.first.text.iloc[found.row_P].tolist() == ["to", " be", "or", " not", "!"]
    assert found.in_words().endswith(" 1 text is left out, tokenized otherwise.")


def test_a_token_that_nobody_knows_is_no_place_and_refuses_nothing(tmp_path: Path) -> None:
    nameless = Text(pieces=["to", None, " be"], text="to be")
    found = matched(tmp_path, [nameless, OR_NOT], [nameless, OR_NOT])
    assert (found.by, found.num_laid) == (TOKENS, 2)
    assert found.first.text.iloc[found.row_P].tolist() == ["to", " be", "or", " not", "!"]
    generated = Text(pieces=["to", None, " be"], text="to be", generated=2)
    (tmp_path / "other").mkdir()
    found = matched(tmp_path / "other", [generated], [generated])
    assert found.first.text.iloc[found.row_P].tolist() == ["to"]  # then anything may follow


def test_a_token_that_nobody_knows_leaves_its_text_out_of_characters(tmp_path: Path) -> None:
    nameless = Text(pieces=["o", None, " not"], text="or not")
    found = matched(tmp_path, [TO_BE, nameless], [Text(pieces=["t", "o be"]), nameless, OR_NOT])
    assert found.num_laid == 1


@pytest.mark.parametrize(("tokenizer", "by"), [("unknown", TOKENS), ("named", CHARACTERS)])
def test_two_unknown_tokenizers_are_not_one(tmp_path: Path, tokenizer: str, by: str) -> None:
    """Tokens of the same texts are the same if nobody says that their ids mean the same."""
    one, other = (Text(pieces=["to", " be"], token_ids=ids) for ids in ([1, 2], [3, 4]))
    for name, text in (("first", one), ("second", other)):
        write_texts(tmp_path / f"{name}.duckdb", [text], tokenizer=tokenizer)
    found = matched_texts(opened(tmp_path / "first.duckdb"), opened(tmp_path / "second.duckdb"))
    assert found.by == by


def test_ids_of_unknown_tokenizers_match_texts_of_which_all_are_the_same(tmp_path: Path) -> None:
    texts = [
        Text(pieces=[None, None], text="to be", token_ids=[7, 8]),
        Text(pieces=[None, None], text="or not", token_ids=[7, 9]),
    ]
    others = [texts[0], Text(pieces=[None, None], text="or not", token_ids=[7, 8])]
    for name, of in (("first", texts), ("second", others)):
        write_texts(tmp_path / f"{name}.duckdb", of, tokenizer="unknown")
    found = matched_texts(opened(tmp_path / "first.duckdb"), opened(tmp_path / "second.duckdb"))
    assert found.first.doc_id.iloc[found.row_P].tolist() == [0, 0]


def test_a_text_that_its_tokens_do_not_give_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    broken = Text(pieces=["o\ufffd", "r"], text="or not!")
    found = matched(tmp_path, [TO_BE, OR_NOT], [Text(pieces=["t", "o be"]), broken])
    assert (found.by, found.num_read, found.num_laid) == (CHARACTERS, 2, 1)
    assert "1 text is left out, whose tokens do not give it." in found.in_words()
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="they do not give the texts of their documents"):
        matched(tmp_path / "other", [OR_NOT], [broken])


def test_a_text_without_characters_is_known_by_the_ids_of_its_tokens(tmp_path: Path) -> None:
    one = Text(pieces=[None, None], text="", token_ids=[7, 8])
    other = Text(pieces=[None, None], text="", token_ids=[8, 7])
    found = matched(tmp_path, [one, other], [other, one])
    assert found.first.doc_id.iloc[found.row_P].tolist() == [0, 0, 1, 1]
    assert found.second.doc_id.iloc[found.other_row_P].tolist() == [1, 1, 0, 0]


def test_ids_of_another_tokenizer_tell_no_tokens_apart(tmp_path: Path) -> None:
    nameless = Text(pieces=[None, None], text="to be", token_ids=[7, 8])
    with pytest.raises(ValueError, match="neither their texts nor ids of one tokenizer"):
        matched(tmp_path, [nameless], [nameless], tokenizer="other")


def test_numbers_that_stand_for_texts_are_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "first.duckdb"
    numbered = Finding(
        kind=module.NUMBERED, severity="note", occurrences=2, first_example="here", effect="none"
    )
    with TraceStore.create(path, description(layers=1, top_k=None)) as store:
        made = batch(0, TO_BE, layers=1, margin=0.1, weights=True)
        made.token_id_T[:] = [0, 1]
        object.__setattr__(made, "findings", (numbered,))
        store.write(made)
    write_texts(tmp_path / "second.duckdb", [TO_BE], tokenizer=description().tokenizer)
    found = matched_texts(opened(path), opened(tmp_path / "second.duckdb"))
    assert (found.by, len(found.row_P)) == (TOKENS, 2)


def test_without_a_text_in_common_nothing_is_matched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no text is in both traces"):
        matched(tmp_path, [TO_BE], [OR_NOT])
    write_empty_trace(tmp_path / "empty.duckdb")
    with pytest.raises(ValueError, match="no text is in both traces"):
        matched_texts(opened(tmp_path / "first.duckdb"), opened(tmp_path / "empty.duckdb"))


def test_only_whole_texts_are_read_and_the_same_ones_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 5)
    texts = [Text(pieces=["to", f" {number}"]) for number in range(9)]
    found = matched(tmp_path, texts, texts[::-1])
    assert (found.num_texts, found.num_read, len(found.row_P)) == (9, 3, 6)
    assert "3 of them were read, always the same ones" in found.in_words()
    again = matched_texts(opened(tmp_path / "second.duckdb"), opened(tmp_path / "first.duckdb"))
    assert sorted(again.first.text) == sorted(found.first.text)


def test_choices_weights_and_margins_are_those_of_the_places(tmp_path: Path) -> None:
    chosen = Text(pieces=["to", " be"], ids_TLK=np.array([[[3, 1]], [[5, -1]]]))
    found = matched(tmp_path, [OR_NOT, chosen], [chosen])
    first = first_choices_at(*opened(tmp_path / "first.duckdb"), found)
    second = second_choices_at(*opened(tmp_path / "second.duckdb"), found)
    assert first.ids_PLK.tolist() == second.ids_PLK.tolist() == [[[3, 1]], [[5, -1]]]
    np.testing.assert_array_equal(first.weights_PLK[:, 0], [[1, 0.5], [1, np.nan]])
    np.testing.assert_allclose(first.margin_PL, [[0.01]] * 2)


def test_a_source_of_ids_only_has_no_weights_and_no_margins(tmp_path: Path) -> None:
    path = tmp_path / "ids.duckdb"
    write_choices(path, np.array([[[0, 1]], [[2, 3]]]), np.array([0, 0]), ids_only=True)
    found = matched_texts(opened(path), opened(path))
    choices = first_choices_at(*opened(path), found)
    assert choices.ids_PLK.tolist() == [[[0, 1]], [[2, 3]]]
    assert np.isnan(choices.weights_PLK).all()
    assert np.isnan(choices.margin_PL).all()


def test_of_a_long_text_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 3)
    ids_TLK = np.arange(5)[:, None, None]
    long = Text(pieces=["to", " be", " or", " not", "?"], ids_TLK=ids_TLK)
    found = matched(tmp_path, [long], [long])
    assert found.first.text.tolist() == ["to", " be", " or"]
    assert "; of longer ones the first 3 tokens" in found.in_words()
    choices = first_choices_at(*opened(tmp_path / "first.duckdb"), found)
    assert choices.ids_PLK.ravel().tolist() == [0, 1, 2]
    assert choices.margin_PL.shape == (3, 1)


def test_what_is_read_is_bounded_in_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHOICES", 8)  # of two a token
    texts = [Text(pieces=["to", f" {number}"]) for number in range(9)]
    assert matched(tmp_path, texts, texts).num_read == 2


def test_a_list_with_a_gap_has_as_many_ranks_as_it_is_long(tmp_path: Path) -> None:
    """Where k varies: one expert ran, and its rank is 1."""
    chosen = Text(pieces=["to"], ids_TLK=np.array([[[-1, 3]]]))
    found = matched(tmp_path, [chosen], [chosen])
    first = first_choices_at(*opened(tmp_path / "first.duckdb"), found)
    assert first.ids_PLK.tolist() == [[[-1, 3]]]


def test_answers_without_a_prompt_and_with_other_texts_have_nothing_in_common(
    tmp_path: Path,
) -> None:
    """Dumps of answers: every token is generated, so no text has a prompt to be known by."""
    sides = []
    for name in ("one", "another"):
        path = tmp_path / f"{name}.duckdb"
        with TraceStore.create(path, description()) as store:
            batch = batch_of([0, 0], np.tile([[0, 1]], (2, 2, 1)))
            document = Document(doc_id=0, text=f"{name} answer")
            generated_T = np.ones(2, np.uint8)
            store.write(replace(batch, documents=(document,), phase_T=generated_T))
        con = open_trace(path)
        sides.append((con, queries.trace_info(con)))
    with pytest.raises(ValueError, match="no text is in both traces"):
        matched_texts(*sides)
