"""What a TraceStore takes from nobody, because no trace that holds it can be opened."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.routing import Finding
from data.store import TraceStore
from tests.routing_batches import batch_of, description


def test_an_infinite_entropy_is_refused_without_a_finding(tmp_path: Path) -> None:
    batch = batch_of([0, 0], [[[0, 1], [0, 1]]] * 2)
    assert batch.entropy_TL is not None
    batch.entropy_TL[1, 1] = np.inf
    with (
        pytest.raises(ValueError, match=r"an infinite entropy in layer 1"),
        TraceStore.create(tmp_path / "t.duckdb", description()) as store,
    ):
        store.write(batch)


def test_an_expert_chosen_twice_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="an expert twice in layer 1"),
        TraceStore.create(tmp_path / "t.duckdb", description()) as store,
    ):
        store.write(batch_of([0], [[[0, 1], [5, 5]]]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_T": np.array([3, 3], np.uint32)}, "two tokens of document 7 are at position 3"),
        ({"phase_T": np.array([0, 9], np.uint8)}, "phase 9; give 0 or 1"),
        ({"loss_T": np.array([0, np.inf], np.float32)}, "a loss is infinite"),
    ],
)
def test_tokens_that_no_trace_may_hold_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    batch = replace(batch_of([7, 7], [[[0, 1], [0, 1]]] * 2), **changes)
    with (
        pytest.raises(ValueError, match=message),
        TraceStore.create(tmp_path / "t.duckdb", description()) as store,
    ):
        store.write(batch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"severity": "odd"}, {"kind": ""}, {"occurrences": 0}])
def test_a_finding_that_no_trace_takes_is_refused(wrong: dict[str, Any]) -> None:
    values: dict[str, Any] = {"kind": "a", "severity": "note", "occurrences": 1}
    with pytest.raises(ValueError, match="finding"):
        Finding(**values | wrong, first_example="here", effect="none")
