"""Terms explained where they stand on a page."""

import re

from app.views.shared import controls, glossary


def test_a_term_is_explained_once_and_the_rest_of_the_text_is_untouched() -> None:
    seen: set[str] = set()
    text = "lifts with q &lt; 0.05, a lift of 2, q 0.3, quality, p of P"
    marked = glossary.marked(text, seen)
    assert re.sub("</?abbr[^>]*>", "", marked) == text
    assert re.findall(r"<abbr[^>]*>([^<]*)</abbr>", marked) == ["lifts", "q"]
    assert seen == {"lift", "q"}
    assert glossary.marked("a lift", seen) == "a lift"


def test_longer_terms_come_before_those_within_them() -> None:
    assert re.findall(r">([^<]*)</abbr>", glossary.marked("gate entropy", set())) == [
        "gate entropy"
    ]


def test_explanations_are_short_and_hold_no_markup() -> None:
    for name, words in glossary.terms().items():
        assert 20 < len(words) < 240, name
        assert not set("<>[]`*") & set(words.replace("q < 0.05", "")), name
    assert {"lift", "q", "MaxVio", "margin", "group"} <= glossary.terms().keys()


def test_a_heading_is_explained_by_its_term() -> None:
    assert glossary.meaning("Mean MaxVio") == glossary.terms()["MaxVio"]
    assert glossary.meaning("q") == glossary.terms()["q"]
    assert glossary.meaning("text") is None


def test_no_method_links_to_a_file_that_a_page_does_not_have() -> None:
    for name, section in controls._metric_sections().items():
        shown = controls._without_files(section)
        assert not re.search(r"\]\((?!https?://)", shown), name
    assert controls._without_files("see [`a.sql`](../a.sql)") == "see `a.sql`"
