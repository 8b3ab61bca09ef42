"""routescope cache: four caches of one trace, and what it refuses."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from analysis.offload.replay import TIED
from analysis.offload.rules import RULES
from app import cache_kinds, workspace
from app.commands.cache import MOST_ACCESSES, cache
from app.trace import open_trace as trace_of
from data.sidecar import Absent, Sidecar, sidecar_path
from tests.app.shell import Run
from tests.app.sparse_traces import counted
from tests.uneven import write_uneven_trace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "uneven.duckdb"
    write_uneven_trace(path)
    return path


@pytest.fixture
def trace(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path))


def test_four_caches_lie_beside_the_trace(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache(trace, slots="9,18", as_json=True)
    opened = trace_of(workspace.trace_file(trace))
    rates, predictions = (opened.beside(kind) for kind in reversed(cache_kinds.BY_CACHE))
    assert isinstance(rates, Sidecar)
    assert isinstance(predictions, Sidecar)
    kinds = rates.frame[["per_layer", "cold", "slots"]].drop_duplicates()
    assert len(kinds) == 8
    assert set(rates.frame.policy) == set(RULES)
    assert set(predictions.frame.predictor) == set(cache_kinds.PREDICTORS)
    assert rates.parameters["texts"] == 18  # half of 36
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["uneven.cache_predictions.parquet", "uneven.cache.parquet"]
    assert [row["slots"] for row in told["caches"]] == [9] * len(RULES) + [18] * len(RULES)
    assert told["expert_bytes"] is None  # its configuration does not say
    whole = [row for row in told["caches"] if row["slots"] == 18]
    assert {row["null"] for row in whole} == {1}
    assert all(row["estimate"] > 0.99 for row in whole)


def test_one_kind_is_printed_with_bytes_and_times(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = partial(
        cache,
        trace,
        slots="9",
        per_layer=True,
        cold=True,
        expert_bytes=2_000_000,
        bandwidth=10.0,
    )
    given(as_json=True)
    told = json.loads(capsys.readouterr().out)["caches"]
    assert [row["policy"] for row in told] == list(RULES)
    assert {(row["per_layer"], row["cold"], row["slots"]) for row in told} == {(True, True, 9)}
    for row in told:
        assert row["megabytes"] == pytest.approx(2 * (row["misses"] + row["ahead"]))
        assert row["wait_ms"] == pytest.approx(0.2 * row["misses"])
    given()
    out = capsys.readouterr().out
    assert "stage 4/4: slots by layer, cold, 9 slots" in out
    assert all(policy in out for policy in RULES)
    assert "--expert-bytes" not in out


def test_without_the_size_of_an_expert_it_says_how_to_give_it(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache(trace, slots="9")
    assert "--expert-bytes gives megabytes and times" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--slots", "0"), "a cache of 0 slots: a token needs 2 experts of a layer at once"),
        (("--slots", "1"), "give 2 to 18"),
        (("--slots", "19"), "this model has only 18 experts in all its layers; give 2 to 18"),
        (("--slots", "2", "--per-layer"), "every layer needs a slot for each expert"),
        (("--slots", "9,x"), "--slots '9,x' are no numbers of slots; give some such as 64,128"),
        (("--slots", "9,,10"), "are no numbers of slots"),
    ],
)
def test_a_size_that_is_none_is_refused_and_nothing_is_written(
    given: tuple[str, ...], said: str, trace: Path, refused: Run
) -> None:
    assert said in refused("cache", str(trace), *given)
    assert list(trace.parent.iterdir()) == [trace]


def test_sizes_too_small_to_be_divided_are_left_out_of_the_divided_cache(trace: Path) -> None:
    cache(trace, slots="2,9")
    stored = trace_of(workspace.trace_file(trace)).beside(cache_kinds.HIT_RATES)
    assert isinstance(stored, Sidecar)
    slots = stored.frame.groupby("per_layer").slots.unique()
    assert slots[False].tolist() == [2, 9]
    assert slots[True].tolist() == [9]


def test_a_table_without_what_others_are_held_against_is_none_of_ours(trace: Path) -> None:
    cache(trace, slots="9,18")
    stored = trace_of(workspace.trace_file(trace)).beside(cache_kinds.HIT_RATES)
    assert isinstance(stored, Sidecar)
    agrees, facts = cache_kinds.HIT_RATES.agrees, trace_of(workspace.trace_file(trace)).info
    assert agrees is not None
    assert agrees(stored.frame, facts)
    for policy in ("lru", "belady", "prefetch_previous_token"):
        lacks = (stored.frame.policy == policy) & (stored.frame.slots == 18)
        assert not agrees(stored.frame[~lacks], facts)
    assert not agrees(stored.frame.assign(policy="mru"), facts)


def test_what_was_used_most_often_has_a_priority_that_fits() -> None:
    most = MOST_ACCESSES * TIED + MOST_ACCESSES
    assert MOST_ACCESSES < TIED
    assert most < 2**63


def test_counts_are_refused_with_what_is_missing(tmp_path: Path, refused: Run) -> None:
    counted(tmp_path / "counts.duckdb", top_k=2)
    line = refused("cache", str(tmp_path / "counts.duckdb"))
    assert "names no token, so there is no order in which experts are asked for" in line


def test_another_trace_is_told_from_this_one(trace: Path, tmp_path: Path) -> None:
    cache(trace, slots="9")
    other = tmp_path / "other.duckdb"
    write_uneven_trace(other, documents=12)
    sidecar_path(trace, cache_kinds.HIT_RATES).rename(sidecar_path(other, cache_kinds.HIT_RATES))
    assert isinstance(trace_of(workspace.trace_file(other)).beside(cache_kinds.HIT_RATES), Absent)
