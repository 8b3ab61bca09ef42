import numpy as np
import pandas as pd
import pytest

from analysis.differences.differences import ALIKE, Sample
from analysis.differences.figure_differences import figure_differences
from analysis.groups import NOT_ENOUGH
from analysis.load import gini
from analysis.specialization import mutual_information
from tests.analysis.differences.overdispersed import DOMAINS, pair_of_samples, two_samples


def figures(first: Sample, second: Sample, *, paired: bool) -> pd.DataFrame:
    return figure_differences(first, second, paired=paired, num_domains=len(DOMAINS))


def value(table: pd.DataFrame, layer_id: int, metric: str, column: str) -> float:
    (found,) = table[column][(table.layer_id == layer_id) & (table.metric == metric)]
    return float(found)


def test_first_and_second_are_the_figures_of_other_pages() -> None:
    first, second = two_samples(seed=0)
    table = figures(first, second, paired=False)
    loads = [of.tokens_NLE.sum(0).astype(float) for of in (first, second)]
    for layer_id in range(2):
        for of, column in zip(loads, ("first", "second"), strict=True):
            found = value(table, layer_id, "gini", column)
            assert found == pytest.approx(gini(of)[layer_id], abs=1e-6)
    tokens_EG = np.stack([first.tokens_NLE[first.domain_id_N == g].sum(0) for g in range(3)], -1)
    found = value(table, 1, "mutual_information", "first")
    assert found == pytest.approx(mutual_information(tokens_EG.astype(float))[1], abs=1e-6)


def test_a_sample_does_not_differ_from_itself() -> None:
    first, _ = two_samples(seed=1)
    table = figures(first, first, paired=True)
    assert (table.p == 1).all()
    assert set(table.note) == {ALIKE}


def test_pairs_are_drawn_together() -> None:
    """Moving one choice in fifty from the busiest expert changes Gini less than texts differ."""
    first, _ = two_samples(seed=2)
    tokens_NLE = first.tokens_NLE.copy()
    busiest = int(tokens_NLE[:, 0].sum(0).argmax())
    tokens_NLE[:, 0, busiest] -= tokens_NLE[:, 0, busiest] // 5
    second = Sample(tokens_NLE, first.domain_id_N, first.experts_L)
    tables = [figures(first, second, paired=paired) for paired in (True, False)]
    widths = [value(table, 0, "gini", "high") - value(table, 0, "gini", "low") for table in tables]
    assert widths[0] < 0.5 * widths[1]


def test_few_groups_say_nothing() -> None:
    first, second = two_samples(seed=3)
    some = [Sample(of.tokens_NLE[::9], of.domain_id_N[::9], of.experts_L) for of in (first, second)]
    table = figures(some[0], some[1], paired=False)
    assert set(table.note) == {NOT_ENOUGH}
    assert table[["low", "high", "p"]].isna().all(axis=None)


@pytest.mark.parametrize("paired", [False, True])
def test_without_a_difference_few_p_are_small(paired: bool) -> None:
    small = [
        (figures(*(pair_of_samples if paired else two_samples)(seed=seed), paired=paired).p < 0.05)
        for seed in range(80)
    ]
    assert np.mean(np.concatenate(small)) <= 0.08
