"""A matrix of tests: a sample of it always runs, the rest with the exhaustive tests."""

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def sampled(names: Iterable[str], cases: Iterable[str], *, one_of: int) -> list[ParameterSet]:
    """Pairs (name, case). The sample has one of so many, on diagonals: every name and every case
    is in it, if there are as many."""
    return [
        pytest.param(name, case, marks=[pytest.mark.exhaustive] if (row + column) % one_of else [])
        for row, name in enumerate(names)
        for column, case in enumerate(cases)
    ]
