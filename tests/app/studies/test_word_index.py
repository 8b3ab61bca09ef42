"""The index of a trace with layers of 4, 8 and 6 experts and 36 texts; see tests/uneven.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from duckdb import DuckDBPyConnection

from analysis import queries, word_rows
from analysis.word_experts import WordSums
from app.studies import word_index
from app.word_kinds import MOST_CELLS
from data.store import open_trace
from tests.uneven import SKIPPED, TOKENS, write_uneven_trace


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "uneven.duckdb"
    write_uneven_trace(path)
    return path


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_sums_of_words_are_those_of_their_choices(
    uneven: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(word_index, "AT_ONCE", at_once)  # a batch a group, or one of all
    read = list[int]()
    with open_trace(uneven) as con:
        info = queries.trace_info(con)
        texts = word_rows.token_texts(con).text.tolist()
        table = word_index.expert_sums(con, info, texts, tell=read.append)
        every = range(info.num_documents)
        choices = {text: word_rows.word_choices(con, text, list(every)) for text in texts}
    assert len(read) == (36 if at_once == 1 else 1)
    assert read[-1] == 36 * TOKENS
    for text, rows in choices.items():
        of = WordSums.of(rows.assign(group=rows.doc_id), num_layers=3, num_experts=8)
        own = table[table.text == text]
        for name in word_index.SUMS:
            sums_LE = np.zeros((3, 8))
            sums_LE[own.layer_id, own.expert_id] = own[name]
            assert (sums_LE == getattr(of, f"{name}_LE")).all()
    assert (table.tokens > 0).all()  # what was not chosen has no row
    layer_2 = table[table.layer_id == 2]
    assert layer_2.tokens.sum() == 36 * 2 * (TOKENS - SKIPPED)


def test_words_are_indexed_of_which_a_search_reads_a_sample(tiny: DuckDBPyConnection) -> None:
    info, k = replace(queries.trace_info(tiny), num_tokens=2**21), of_k(2, tokens=2**21)
    assert word_index.most_read(info, k) == 2**20  # READ, of 2 choices each
    words = pd.DataFrame({"text": list("abc"), "tokens": [2**20 + 1, 2**20, 5], "n_documents": 2})
    assert word_index.frequent(words, info, k).text.tolist() == ["a"]
    many = words.assign(n_documents=[1, 2, word_rows.DOCUMENTS + 1])
    assert word_index.frequent(many, info, k).text.tolist() == ["a", "c"]


def test_no_more_words_are_indexed_than_there_is_room_for(tiny: DuckDBPyConnection) -> None:
    info = replace(queries.trace_info(tiny), num_tokens=2**21)
    large = replace(info.layers[0], num_experts=MOST_CELLS // 6)
    crowded = replace(info, layers=(large, large))  # a third of the room each word
    words = pd.DataFrame({"text": list("abcde"), "tokens": 2**21, "n_documents": 2})
    k = of_k(2, tokens=2**21)
    assert word_index.frequent(words, crowded, k).text.tolist() == ["a", "b", "c"]


def test_an_index_is_wanted_of_many_texts_or_choices(tiny: DuckDBPyConnection) -> None:
    few = replace(queries.trace_info(tiny), num_documents=word_rows.DOCUMENTS)
    many = replace(few, num_documents=word_rows.DOCUMENTS + 1)
    assert not word_index.is_wanted(few, of_k(8, tokens=word_index.LARGE // 8))
    assert word_index.is_wanted(few, of_k(8, tokens=word_index.LARGE // 8 + 1))
    assert word_index.is_wanted(many, of_k(8))
    assert not word_index.is_wanted(replace(many, counts_only=True), of_k(8))


def of_k(k: int, *, tokens: int = 8) -> pd.DataFrame:
    """domain_k() of so many tokens in a layer, each with k choices."""
    return pd.DataFrame({"layer_id": [0], "domain": "math", "k": k, "tokens": tokens})
