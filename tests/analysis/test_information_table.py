import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis import queries
from analysis.groups import NOT_ENOUGH
from analysis.information_table import COLUMNS, NUMBERS, information_row, with_q

DOCUMENTS, TOKENS = 24, 40


def choices(chosen: np.ndarray, token_id: np.ndarray) -> pd.DataFrame:
    """One choice a token."""
    columns = {
        "unit": np.repeat(np.arange(DOCUMENTS), TOKENS),
        "doc_id": np.repeat(np.arange(DOCUMENTS), TOKENS),
        "position": np.tile(np.arange(TOKENS), DOCUMENTS),
        "token_id": token_id,
        "rank": 0,
        "expert_id": chosen,
    }
    return pd.DataFrame(columns)


@pytest.fixture
def domains() -> pd.Series:
    return pd.Series(["math", "code"] * (DOCUMENTS // 2), name="domain")


def test_an_expert_of_the_subject_is_found_beyond_the_word(
    tiny: duckdb.DuckDBPyConnection, domains: pd.Series
) -> None:
    info = queries.trace_info(tiny)  # of four experts
    rng = np.random.default_rng(0)
    subject = np.repeat((domains == "math").to_numpy(int), TOKENS)
    expert = np.where(rng.random(subject.size) < 0.5, subject, 2)
    frame = choices(expert, rng.integers(0, 5, subject.size))
    row = information_row(frame, domains, info, layer_id=1)
    assert row["beyond"] == pytest.approx(0.5 * np.log(2), abs=0.05)
    assert row["information"] == pytest.approx(0.5 * np.log(2), abs=0.05)
    assert row["p"] == row["information_p"] == pytest.approx(1 / 51)
    assert row["low"] < 0.5 * np.log(2) < row["high"]
    assert row["n_documents"] == row["n_groups"] == DOCUMENTS
    assert row["n_tokens"] == DOCUMENTS * TOKENS


def test_texts_of_one_group_are_one_observation(
    tiny: duckdb.DuckDBPyConnection, domains: pd.Series
) -> None:
    """Documents 0 and 2 are of math, 1 and 3 of code, and so on: pairs, of which 12 are too few."""
    info = queries.trace_info(tiny)
    rng = np.random.default_rng(0)
    subject = np.repeat((domains == "math").to_numpy(int), TOKENS)
    expert = np.where(rng.random(subject.size) < 0.5, subject, 2)
    frame = choices(expert, rng.integers(0, 5, subject.size))
    alone = information_row(frame, domains, info, layer_id=1)
    unit = frame.doc_id // 4 * 4 + frame.doc_id % 2
    paired_frame = frame.assign(unit=unit).sort_values("unit", kind="stable")
    paired = information_row(paired_frame, domains, info, layer_id=1)
    assert (paired["n_documents"], paired["n_groups"]) == (DOCUMENTS, DOCUMENTS // 2)
    assert paired["plug_in"] == pytest.approx(alone["plug_in"])
    assert paired["information"] == pytest.approx(alone["information"])
    assert paired["low"] is paired["high"] is None
    assert paired["reason"] == f"{NOT_ENOUGH} how sure this is"
    assert paired["p"] == pytest.approx(1 / 51)


def test_an_expert_of_the_word_tells_of_the_subject_but_not_beyond(
    tiny: duckdb.DuckDBPyConnection, domains: pd.Series
) -> None:
    info = queries.trace_info(tiny)
    rng = np.random.default_rng(0)
    subject = np.repeat((domains == "math").to_numpy(int), TOKENS)
    token_id = 2 * rng.integers(0, 2, subject.size) + subject * (rng.random(subject.size) < 0.5)
    expert = np.where(rng.random(subject.size) < 0.9, token_id, rng.integers(0, 4, subject.size))
    row = pd.Series(information_row(choices(expert, token_id), domains, info, layer_id=0))
    assert row["information"] > 0.1
    assert row["information_p"] == pytest.approx(1 / 51)
    assert abs(row["beyond"]) < 0.01


def test_what_cannot_be_said_has_a_reason_and_no_number(
    tiny: duckdb.DuckDBPyConnection, domains: pd.Series
) -> None:
    info = queries.trace_info(tiny)
    frame = choices(np.zeros(DOCUMENTS * TOKENS, int), np.zeros(DOCUMENTS * TOKENS, int))
    one_domain = information_row(frame, domains.replace("code", "math"), info, layer_id=0)
    nothing = information_row(frame.head(0), domains, info, layer_id=0)
    for row in (one_domain, nothing):
        assert row["reason"]
        assert all(row[name] is None for name in NUMBERS)


def test_q_is_over_the_layers_also_of_rows_stored_without_it() -> None:
    stored = pd.DataFrame({"layer_id": [0, 1, 2], "p": [0.02, 0.04, None], "information_p": 0.02})
    table = with_q(stored)
    assert list(table) == list(COLUMNS)
    assert table.q.tolist()[:2] == pytest.approx([0.04, 0.04])  # 0.02 times 2 / 1, 0.04 times 2 / 2
    assert table.information_q.tolist() == pytest.approx([0.02] * 3)
    assert table[["low", "high"]].isna().all(axis=None)
    assert pd.isna(table.q[2])
    assert list(with_q(pd.DataFrame())) == list(COLUMNS)
