from pathlib import Path

import numpy as np
import pytest

from analysis import queries
from app.parts import in_words, open_part, parts_of
from data.store import open_trace
from tests.traces import write_choices, write_tiny_trace


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.duckdb"
    write_tiny_trace(path)
    return path


def test_the_parts_of_a_trace(trace: Path) -> None:
    with open_trace(trace) as con:
        assert parts_of(con) == {
            "phases": ["phase:prefill", "phase:decode"],
            "domains": ["domain:math", "domain:code", "domain:unlabelled"],
            "halves": ["half:first", "half:second"],
        }


def write_many_texts(path: Path) -> None:
    """Twenty texts of three tokens, of domains a and b by turns."""
    document_T = np.repeat(np.arange(20), 3)
    write_choices(path, (np.arange(60) % 4)[:, None, None], document_T)


def test_every_part_can_be_opened(trace: Path) -> None:
    with open_trace(trace) as con:
        parts = [part for of in parts_of(con).values() for part in of]
    tokens = {}
    for part in parts:
        with open_part(trace, part) as con:
            tokens[part] = queries.trace_info(con).num_tokens
    assert tokens["phase:prefill"] + tokens["phase:decode"] == 8
    assert [tokens[part] for part in parts if part.startswith("domain")] == [3, 3, 2]


def test_the_halves_share_no_text_and_have_as_many_of_every_domain(tmp_path: Path) -> None:
    path = tmp_path / "many.duckdb"
    write_many_texts(path)
    texts = []
    for half in ("half:first", "half:second"):
        with open_part(path, half) as con:
            texts.append(set(queries.documents(con).doc_id))
            assert queries.domain_tokens(con).tokens.tolist() == [15, 15]
    assert not texts[0] & texts[1]
    assert texts[0] | texts[1] == set(range(20))


def test_one_group_of_texts_has_no_halves(tmp_path: Path) -> None:
    path = tmp_path / "one.duckdb"
    write_choices(path, np.zeros((4, 1, 1), int), np.zeros(4, int))
    with open_trace(path) as con:
        assert parts_of(con) == {}
    for half in ("first", "second"):
        with pytest.raises(ValueError, match="too few groups of texts for two halves"):
            open_part(path, f"half:{half}")


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("domain:law", "the trace has no texts of domain 'law'; there are phase:prefill"),
        ("phase:training", "'phase:training' is no part of a trace; give phase:decode"),
        ("math", "'math' is no part of a trace"),
        ("half:third", "'half:third' is no part"),
    ],
)
def test_a_part_that_is_none_is_refused(trace: Path, part: str, line: str) -> None:
    with pytest.raises(ValueError, match=line.replace("(", r"\(")):
        open_part(trace, part)


def test_a_phase_without_tokens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prefill.duckdb"
    write_choices(path, np.zeros((4, 1, 1), int), np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="no tokens of decode; there are domain:a, domain:b"):
        open_part(path, "phase:decode")


def test_parts_in_words() -> None:
    assert [in_words(part) for part in ("phase:decode", "domain:math", "half:first")] == [
        "decode",
        "math",
        "first half",
    ]
