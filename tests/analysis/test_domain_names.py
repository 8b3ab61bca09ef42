"""Any label works: beside our own words, and however many there are."""

import duckdb
import pytest

from analysis import arrays, domain_names, queries, specialization
from analysis.domain_names import MAX_LABELS
from data.labels import OWN_WORDS, name_of
from tests.traces import INSERT_DOCUMENT

MANY = 2 * MAX_LABELS


@pytest.fixture
def many(writable: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The tiny trace with MANY further labels of a text without tokens; `label 7` has two."""
    numbers = [*range(MANY), 7]
    for place, number in enumerate(numbers):
        row = (10 + place, f"label {number}", "", "t:1", f"{place:064d}")
        writable.execute(INSERT_DOCUMENT.replace("document", "file.document", 1), row)
    return writable


@pytest.mark.parametrize("word", [*OWN_WORDS, "other labels (3)"])
def test_a_label_that_is_one_of_our_words_stands_in_quotation_marks(word: str) -> None:
    assert name_of(word) == f"“{word}”"
    assert name_of(name_of(word)) == f"““{word}””"  # so no two labels have one name
    assert name_of(word.upper()) == word.upper()


def test_our_words_are_those_of_the_tables() -> None:
    assert set(specialization.label_names(["math"])) - {"math"} <= set(OWN_WORDS)
    assert name_of(None) == name_of("") == "unlabelled"


def test_a_domain_called_none_is_a_domain(writable: duckdb.DuckDBPyConnection) -> None:
    writable.execute("UPDATE file.document SET domain = 'none' WHERE doc_id = 0")
    assert queries.trace_info(writable).domains == ("code", "“none”", "unlabelled")
    assert queries.documents(writable).domain.tolist() == ["“none”", "code", "unlabelled"]
    info = queries.trace_info(writable)
    tokens = arrays.load_array(queries.expert_tokens(writable, domain="“none”"), info)
    assert tokens[0].tolist() == [3, 3, 0, 0]


def test_of_many_labels_the_rest_is_one(many: duckdb.DuckDBPyConnection) -> None:
    domains = queries.trace_info(many).domains
    rest = f"other labels ({MANY + 2 - (MAX_LABELS - 1)})"
    assert len(domains) == MAX_LABELS + 1
    assert domains[-2:] == (rest, "unlabelled")
    assert "label 7" in domains  # the one of most texts
    frame = queries.domain_tokens(many)
    assert frame.domain.tolist() == list(domains)
    assert frame.documents.sum() == MANY + 1 + 3
    assert set(queries.documents(many).domain) == set(domains)
    assert set(queries.expert_domain_tokens(many).domain) == set(domains)


def test_the_sums_stay(many: duckdb.DuckDBPyConnection) -> None:
    info = queries.trace_info(many)
    tokens_LEG = arrays.domain_array(queries.expert_domain_tokens(many), info)
    assert tokens_LEG.sum(-1).tolist() == [[5, 8, 3, 0], [4, 4, 4, 4]]
    groups_NLE, domain_id_N = arrays.group_array(many, info)
    assert (groups_NLE.sum(), set(domain_id_N) <= set(range(len(info.domains)))) == (32, True)


def test_readers_are_told_about_names() -> None:
    assert domain_names.in_words(("math", "unlabelled")) == ""
    assert domain_names.in_words(("math", "law", "other labels (5)", "unlabelled")) == (
        "Of 7 labels, the 2 with the most groups of texts are shown; the others count together as "
        "“other labels (5)”."
    )
    assert "in quotation marks: “none”." in domain_names.in_words(("math", "“none”"))
    assert domain_names.in_words(("Math", "math")) == (
        "The labels 'Math', 'math' are 2 domains, though they differ only in case, width or blanks."
    )
