"""The article's three diagnostics on loads that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.diagnostics import BUSIEST, DISTINCT, SPREAD, diagnostics, is_low_resource
from analysis.metric_intervals import metric_table


@pytest.mark.parametrize(
    ("origin", "low"),
    [
        ("libreoffice-help-om/om", True),
        ("libreoffice-help-de/de", False),
        ("udhr/gla", True),
        ("udhr/eng", False),
        ("prompts.txt:3", False),
        ("", False),
    ],
)
def test_the_language_is_read_from_the_origin(origin: str, low: bool) -> None:
    assert is_low_resource(origin) is low


@pytest.fixture(scope="module")
def loads() -> tuple[np.ndarray, np.ndarray]:
    """20 documents; domain 0 uses experts 0 and 1, domain 1 experts 2 and 3, nobody expert 4."""
    domain_id_N = np.arange(20) % 2
    tokens_NLE = np.zeros((20, 1, 5), dtype=int)
    for document, domain_id in enumerate(domain_id_N):
        tokens_NLE[document, 0, 2 * domain_id : 2 * domain_id + 2] = 200
    return tokens_NLE, domain_id_N


@pytest.fixture(scope="module")
def whole(loads: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    return metric_table(*loads, domains=["a", "b"])


def test_each_is_the_mean_of_its_metric_over_the_layers(
    loads: tuple[np.ndarray, np.ndarray], whole: pd.DataFrame
) -> None:
    tokens_NLE, domain_id_N = loads
    half = metric_table(tokens_NLE[domain_id_N == 1], np.zeros(10, int), domains=["low-resource"])
    table = diagnostics(whole, half, sample=(40, 20), low_sample=(25, 10))
    table = table.set_index("diagnostic")
    assert table.estimate[DISTINCT] == 0.0  # experts 0 and 1 are copies, so are 2 and 3
    assert table.estimate[BUSIEST] == 0.75
    # loads of the low-resource half: 0, 0, 2000, 2000, 0: mean 800, deviation sqrt(960,000)
    assert table.estimate[SPREAD] == pytest.approx(np.sqrt(960_000) / 800)
    assert table.n_documents.tolist() == [40, 40, 25]
    assert table.n_groups.tolist() == [20, 20, 10]


def test_without_such_texts_it_says_so_instead_of_a_number(whole: pd.DataFrame) -> None:
    row = diagnostics(whole, None, sample=(20, 20), low_sample=(0, 0)).iloc[2]
    assert row.note.startswith("no text of a low-resource language")
    assert pd.isna(row.estimate)
    assert (row.n_documents, row.n_groups) == (0, 0)
