"""What placements read of a trace."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis import queries
from analysis.placement import sample as placement_sample
from analysis.placement.sample import PlacedTexts, read_texts
from data.store import open_trace
from tests.placed import PAIRS, write_paired_trace
from tests.uneven import write_uneven_trace
from tests.varying import write_varying_trace


def read(path: Path) -> PlacedTexts:
    with open_trace(path) as con:
        return read_texts(con, queries.trace_info(con))


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paired") / "paired.duckdb"
    write_paired_trace(path, decoded=5)
    return path


def test_the_tiny_trace_is_read_whole(tiny: duckdb.DuckDBPyConnection) -> None:
    texts = read_texts(tiny, queries.trace_info(tiny))
    assert texts.loads[None].tokens_NLE.sum(0).tolist() == [[5, 8, 3, 0], [4, 4, 4, 4]]
    assert texts.loads["decode"].tokens_NLE.sum(0).tolist() == [[1, 1, 0, 0], [0, 1, 0, 1]]
    size_N = texts.loads["prefill"].size_N
    assert size_N is not None
    assert size_N.tolist() == [3, 3, 1]
    assert texts.documents_N.tolist() == [1, 1, 1]
    assert texts.choices is not None
    first = texts.choices.pairs(0, 4)
    assert first.tolist() == [[0, 5, 0, 0], [5, 0, 3, 0], [0, 3, 0, 0], [0, 0, 0, 0]]


def test_phases_add_up_and_choices_know_theirs(paired: Path) -> None:
    texts = read(paired)
    assert texts.phases == ["prefill", "decode"]
    prefill, decode = (texts.loads[phase].tokens_NLE for phase in texts.phases)
    np.testing.assert_array_equal(prefill + decode, texts.loads[None].tokens_NLE)
    assert texts.choices is not None
    decoded = texts.choices.of(np.ones(48, dtype=bool), "decode")
    assert set(decoded.expert_id_C.tolist()) == set(PAIRS[3])
    assert decoded.ends == [0, 48 * 5 * 2, 48 * 5 * 2 * 2]


def test_groups_that_are_left_out_leave_no_choices(paired: Path) -> None:
    texts = read(paired)
    assert texts.choices is not None
    kept = texts.choices.of(texts.judges_N, None)
    assert len(kept.expert_id_C) == texts.judges_N.sum() * 20 * 2 * 2
    assert sorted(set(kept.group_T.tolist())) == list(range(-1, texts.judges_N.sum()))


def test_choices_of_a_large_trace_are_those_of_some_groups(
    paired: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_sample, "MOST_CHOICES", 10 * 80)
    monkeypatch.setattr(placement_sample, "MOST_CELLS", 30 * 16)
    texts = read(paired)
    assert len(texts.domain_id_N) == 30
    assert texts.choices is not None
    groups = set(texts.choices.group_T.tolist())
    assert len(groups) == 10
    assert texts.judges_N[list(groups)].sum() == 5  # as many of either half
    assert texts.cut_texts == 0
    assert read(paired).choices.group_T.tolist() == texts.choices.group_T.tolist()  # type: ignore[union-attr]


def test_of_texts_that_are_all_too_long_the_first_tokens_are_read(
    paired: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_sample, "MOST_CHOICES", 80)  # as many as a text has
    texts = read(paired)
    assert texts.choices is not None
    assert texts.cut_texts == 2
    assert len(texts.choices.expert_id_C) == 80
    assert len(texts.choices.group_T) == 20
    assert not texts.choices.phase_T.any()  # the last quarter of a text is generated


def test_a_text_that_is_too_long_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_sample, "MOST_CHOICES", 200)
    size_N, units = np.array([101.0, 0, 80, 20, 1]), np.arange(5)
    texts = pd.DataFrame({"doc_id": units, "unit": units, "tokens": [101, 0, 80, 20, 1]})
    drawn = placement_sample._drawn_texts(texts, units, size_N, units >= 0)
    assert 0 not in drawn.doc_id.tolist()
    assert (drawn.positions == drawn.tokens).all()
    assert drawn.tokens.sum() <= 100


def test_tokens_may_choose_different_numbers(tmp_path: Path) -> None:
    write_varying_trace(tmp_path / "varying.duckdb", documents=6)
    texts = read(tmp_path / "varying.duckdb")
    assert texts.choices is not None
    counted = [np.bincount(ids, minlength=64) for ids, _ in texts.choices.of_layers()]
    assert (np.stack(counted) == texts.loads[None].tokens_NLE.sum(0)).all()
    size_N = texts.loads[None].size_N
    assert size_N is not None
    assert size_N.tolist() == [60] * 6


def test_layers_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_uneven_trace(tmp_path / "uneven.duckdb", documents=3)
    with pytest.raises(
        ValueError, match="layers have 4 to 8 experts, and engines take maps of the"
    ):
        read(tmp_path / "uneven.duckdb")


def test_nothing_routed_is_refused(empty: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="no token of this trace was routed"):
        read_texts(empty, queries.trace_info(empty))
