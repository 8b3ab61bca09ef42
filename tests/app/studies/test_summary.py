"""Tables beside a large trace: those of the statistics, made once, and estimates until then."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays as any_array

from analysis import queries
from analysis.layers import marked
from analysis.queries import TraceInfo
from app import summary_kinds as kinds
from app.studies import estimates, statistics, summary
from app.studies.estimates import COMING
from app.studies.statistics import Groups
from data.sidecar import Absent, Reason, read_sidecar, sidecar_path, write_sidecar
from data.sidecar_kind import Kind
from data.store import open_trace
from tests.app.incomplete_traces import TWO, written
from tests.sidecars import write_unchecked
from tests.uneven import write_uneven_trace

ALWAYS = [kind for kind in kinds.BY_SUMMARY if kind is not kinds.UNITS]
CASES = {"two_domains": written([*TWO, "long"]), "one_domain": written(["math"] * 12)}


@pytest.fixture(scope="module", params=[*CASES, "uneven"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("summary") / "t.duckdb"
    CASES.get(request.param, write_uneven_trace)(path)
    return path


@pytest.fixture
def bare(trace: Path) -> Iterator[Path]:
    """With nothing beside it."""
    yield trace
    for file in trace.parent.glob("*.parquet"):
        file.unlink()


def summarize(path: Path) -> list[str]:
    with open_trace(path) as con:
        return summary.summarize(con, queries.trace_info(con), path)


def info_and_groups(path: Path) -> tuple[TraceInfo, Groups]:
    with open_trace(path) as con:
        info = queries.trace_info(con)
        return info, Groups.of(con, info)


@pytest.mark.slow
def test_what_is_stored_is_what_the_statistics_say(bare: Path) -> None:
    assert summarize(bare) == [sidecar_path(bare, kind).name for kind in ALWAYS]
    assert summarize(bare) == []
    info, groups = info_and_groups(bare)
    for kind in ALWAYS:
        frame = summary.stored(bare, kind, info)
        with open_trace(bare) as con:
            made = summary.MADE[kind.name][1](con, groups)[0]
        assert frame is not None
        pd.testing.assert_frame_equal(frame, made.reset_index(drop=True), check_dtype=False)


@pytest.mark.slow
def test_an_interrupted_summary_keeps_what_is_whole(bare: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with open_trace(bare) as con, pytest.raises(KeyboardInterrupt):
        summary.summarize(con, queries.trace_info(con), bare, on_stage=stop)
    assert [path.suffixes[0] for path in sorted(bare.parent.glob("*.parquet"))] == [
        ".domain_counts",
        ".lifts",
    ]
    assert summarize(bare) == [sidecar_path(bare, kind).name for kind in ALWAYS[2:]]


@pytest.mark.slow
def test_tables_of_another_version_are_made_again(bare: Path) -> None:
    summarize(bare)
    info, _ = info_and_groups(bare)
    frame = pd.DataFrame({"layer_id": [0]})
    write_unchecked(bare, kinds.LIFTS, frame, {"trace_id": info.trace_id, "version": 0})
    assert summary.stored(bare, kinds.LIFTS, info) is None
    assert summarize(bare) == [sidecar_path(bare, kinds.LIFTS).name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [kinds.LIFTS, kinds.LOADS, kinds.METRICS], ids=lambda kind: kind.name
)
def test_rows_of_another_order_or_missing_ones_are_damage(bare: Path, kind: Kind) -> None:
    summarize(bare)
    info, _ = info_and_groups(bare)
    whole = summary.stored(bare, kind, info)
    assert whole is not None
    twice = pd.concat([whole, whole.iloc[-1:]])
    for wrong in (whole.iloc[:-1], whole.iloc[:0], whole.iloc[::-1], twice):
        assert kind.problem(kind.table(wrong.reset_index(drop=True), info), info) != ""


@pytest.mark.slow
def test_a_table_of_another_trace_is_not_used(bare: Path, tmp_path: Path) -> None:
    summarize(bare)
    info, groups = info_and_groups(bare)
    other = tmp_path / "other.duckdb"
    written(TWO)(other)
    other_info, _ = info_and_groups(other)
    path = sidecar_path(other, kinds.LIFTS)
    path.write_bytes(sidecar_path(bare, kinds.LIFTS).read_bytes())
    found = read_sidecar(other, kinds.LIFTS, of=other_info)
    assert isinstance(found, Absent)
    assert found.reason is Reason.OTHER_TRACE
    write_sidecar(bare, kinds.LIFTS, statistics.lifts(groups), {}, of=info)


@pytest.mark.slow
def test_estimates_are_the_statistics_without_tests(trace: Path) -> None:
    info, groups = info_and_groups(trace)
    tokens_LEG = sums(groups, len(info.domains), info.layer_sizes)
    groups_G = np.bincount(groups.domain_id_N, minlength=len(info.domains))
    for estimated, whole in (
        (estimates.lifts(tokens_LEG, info.domains, groups_G), statistics.lifts(groups)),
        (
            estimates.loads(tokens_LEG.sum(-1), num_groups=len(groups.domain_id_N)),
            statistics.loads(groups),
        ),
        (estimates.metrics(tokens_LEG), statistics.metrics(groups)),
    ):
        assert list(estimated) == list(whole)
        assert estimated[["low", "high", "p", "q"]].isna().all(axis=None)
        same = [name for name in ("layer_id", "expert_id", "domain", "metric") if name in whole]
        counted = [name for name in ("n_groups", "n_tokens") if name in whole]
        pd.testing.assert_frame_equal(
            estimated[[*same, *counted]], whole[[*same, *counted]], check_dtype=False
        )
        np.testing.assert_allclose(
            estimated.estimate.astype(float), whole.estimate.astype(float), rtol=1e-9, atol=1e-9
        )
        assert (
            estimated.note[estimated.estimate.isna()] == whole.note[whole.estimate.isna()]
        ).all()


def sums(groups: Groups, num_domains: int, sizes_L: np.ndarray) -> np.ndarray:
    """tokens_LEG"""
    tokens_LEG = np.zeros((*groups.tokens_NLE.shape[1:], num_domains))
    for tokens_LE, domain_id in zip(groups.tokens_NLE, groups.domain_id_N, strict=True):
        tokens_LEG[..., domain_id] += tokens_LE
    return marked(tokens_LEG, sizes_L)


@given(any_array(np.int64, (2, 3, 2), elements=some.integers(0, 50)))
@settings(max_examples=50, deadline=None)
def test_estimates_never_fail_where_something_was_counted(tokens_LEG: np.ndarray) -> None:
    if not tokens_LEG.any():
        return
    counted = tokens_LEG.astype(float)
    groups_G = (tokens_LEG.sum((0, 1)) > 0).astype(int) * 3
    tables = (
        estimates.lifts(counted, ("a", "b"), groups_G),
        estimates.loads(counted.sum(-1), num_groups=3),
        estimates.metrics(counted),
    )
    for table in tables:
        assert not np.isinf(table.estimate.astype(float)).any()
        assert (table.note != "").all()
        assert (table.note[table.estimate.isna()] != COMING).all()


def test_large_is_what_resampling_takes_long_for(trace: Path) -> None:
    info, _ = info_and_groups(trace)
    assert not summary.is_large(info)
