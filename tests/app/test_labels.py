"""Labels of every kind on every page."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from app.trace import open_trace
from app.views.export import tables
from app.workspace import trace_file
from tests.app.markup import MARKUP
from tests.app.pages import PAGES, page, texts
from tests.traces import write_choices

pytestmark = pytest.mark.slow

ODD = ["none", "all", "all domains", "unlabelled", "domain", MARKUP, "two\nlines", "y" * 3_000]
MANY = [f"label {number}" for number in range(40)]


def write(path: Path, labels: list[str]) -> None:
    """Two texts of ten tokens a label."""
    number = 2 * len(labels)
    ids_TLK = np.random.default_rng(0).random((10 * number, 2, 4)).argsort(-1)[..., :2]
    write_choices(path, ids_TLK, np.repeat(np.arange(number), 10))
    with duckdb.connect(str(path)) as con:
        for doc_id in range(number):
            row = [labels[doc_id // 2], doc_id]
            con.execute("UPDATE document SET domain = $1 WHERE doc_id = $2", row)


@pytest.mark.parametrize("name", PAGES)
def test_any_label_works_on_every_page(name: str, traces: Path) -> None:
    write(traces / "odd.duckdb", ODD)
    app = page(name)
    assert not app.exception


@pytest.mark.parametrize(
    "name",
    [
        "overview",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("specialization", "load_balance", "export")
        ),
    ],
)
def test_a_page_says_that_it_shows_a_part_of_many_labels(name: str, traces: Path) -> None:
    write(traces / "many.duckdb", MANY)
    app = page(name)
    assert not app.exception
    assert "Of 40 labels, the 11 with the most groups of texts are shown" in texts(app)


def test_exports_have_the_labels_of_the_pages(tmp_path: Path) -> None:
    write(tmp_path / "many.duckdb", MANY)
    trace = open_trace(trace_file(tmp_path / "many.duckdb"))
    for name in ("domains", "texts", "expert_domain_tokens"):
        assert set(tables.TABLES[name][1](trace).domain) == set(trace.domains)
    assert len(trace.domains) == 12
