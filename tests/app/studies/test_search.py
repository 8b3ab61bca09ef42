"""What a search names, and what it refuses."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.studies import search

LAYERS = {"0": 0, "3": 1}  # as pages call them: the trace has layers 0 and 3 of the model
KINDS = {"encoder 1": 0, "decoder 1": 1}
SIZES = [4, 2]
WORDS = pd.DataFrame(
    [
        (" the", 50),
        ("\n", 40),
        (" then", 30),
        ("the", 9),
        ("The", 8),
        (" ", 7),
        ("a.b", 2),
        ("acb", 1),
    ],
    columns=["text", "tokens"],
)


def found(text: str, *, regex: bool = False) -> list[str]:
    return search.matching_words(WORDS, text, regex=regex).text.tolist()


@pytest.mark.parametrize(
    ("text", "expert"),
    {
        "0:3": (0, 3),
        "3:1": (1, 1),
        "layer 3 : 1": (1, 1),
        "3:2": None,  # of two experts
        "1:0": None,  # no such layer
        "0:": None,
        ":3": None,
        "0:-1": None,
        "0:٣": None,  # a digit, but not ours
        "0:99999999": None,
        "1": None,
    }.items(),
)
def test_an_expert_is_named_by_its_layer_as_pages_call_it(
    text: str, expert: tuple[int, int] | None
) -> None:
    assert search.expert_named(text, LAYERS, SIZES) == expert


def test_layers_of_several_kinds_have_their_names() -> None:
    assert search.expert_named("Encoder 1:3", KINDS, SIZES) == (0, 3)
    assert search.expert_named("1:3", KINDS, SIZES) is None


def test_a_text_is_named_by_its_number() -> None:
    assert [search.number_named(text) for text in ("12", "#12", "0")] == [12, 12, 0]
    assert [search.number_named(text) for text in ("#", "12a", "-1", "٣", "1" * 11)] == [None] * 5


def test_a_domain_is_named_whatever_the_case_or_by_its_beginning() -> None:
    domains = ("math", "Mathematics", "code", "c")
    assert search.domains_named("MATH", domains) == ["math"]  # and not the longer one
    assert search.domains_named("mat", domains) == ["math", "Mathematics"]
    assert search.domains_named("c", domains) == ["c"]
    assert search.domains_named("m", domains) == []  # too short for a beginning


def test_words_are_found_with_and_without_a_blank_before_them_then_longer_ones() -> None:
    assert found("the") == [" the", "the", "The", " then"]
    assert found("The") == ["The", " the", "the", " then"]
    assert found("t") == []


def test_blanks_are_words_as_they_are_and_as_pages_show_them() -> None:
    assert found(" ") == [" "]
    assert found("\n") == ["\n"]
    assert found("␣") == [" "]
    assert found("⏎") == ["\n"]


def test_only_a_regular_expression_has_characters_that_mean_others() -> None:
    assert found("a.b") == ["a.b"]
    assert found("a.b", regex=True) == ["a.b", "acb"]
    assert found("^ the", regex=True) == [" the", " then"]


def test_blanks_around_a_search_do_not_count_unless_they_are_all_of_it() -> None:
    assert search.asked_text("  two words ") == "two words"
    assert search.asked_text(" ") == " "
    assert search.asked_text("\ud800") == "?"  # half a character


def test_a_long_search_is_refused() -> None:
    with pytest.raises(ValueError, match=r"may have 1,000 characters; this one has 1,001$"):
        search.asked_text("a" * 1_001)


@pytest.mark.parametrize(
    ("text", "why"),
    {
        "a(": "no regular expression: missing )",
        "(?=a)": "no regular expression: invalid perl operator",
        "(a{1000}){1000}": "no regular expression: invalid repetition size",
        "a*": "matches an empty text",
        "^": "matches an empty text",
    }.items(),
)
def test_what_is_no_regular_expression_or_matches_everywhere_is_refused_in_a_line(
    text: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(").replace(")", r"\)")) as refused:
        search.pattern_of(text, regex=True)
    assert "\n" not in str(refused.value)


@given(st.text(min_size=1, max_size=30))
def test_whatever_is_typed_is_a_pattern_of_itself(text: str) -> None:
    asked = search.asked_text(text)
    words = pd.DataFrame({"text": [f"before {asked} after"]})
    assert len(search.matching_words(words, search.pattern_of(asked, regex=False), regex=True)) == 1
