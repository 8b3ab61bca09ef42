"""What the pages of a trace show, made without a page: for a report or a comparison."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import workspace
from app.commands.information import information
from app.commands.project import project
from app.sidecars import MAPS
from app.trace import Trace, open_trace
from app.views.coactivation import panels as coactivation
from app.views.domain_clusters import panels as domain_clusters
from app.views.load_balance import panels as load_balance
from app.views.overview import panels as overview
from app.views.shared.panel import Panel
from app.views.shared.theme import LIGHT
from app.views.specialization import panels as specialization
from app.views.vocabulary import panels as vocabulary

Make = Callable[[Trace], list[Panel]]
PAGES: dict[str, Make] = {
    "overview": lambda trace: overview.panels(trace, LIGHT),
    "specialization": lambda trace: specialization.panels(trace, LIGHT),
    "load balance": lambda trace: load_balance.panels(trace, LIGHT),
    "pairs": lambda trace: coactivation.panels(trace, LIGHT),
    "transitions": lambda trace: coactivation.panels(trace, LIGHT, with_next=True),
    "vocabulary": lambda trace: vocabulary.panels(trace, LIGHT),
    "clusters": lambda trace: [
        panel for what in MAPS for panel in domain_clusters.panels(trace, LIGHT, what=what)
    ],
}
ON_DEMAND: dict[str, Make] = {
    "replication": lambda trace: specialization.replication_panels(trace),
    "every domain": lambda trace: [load_balance.every_domain_panel(trace)],
    "definitions": lambda trace: [vocabulary.definitions_panel(trace, 0)],
}


@pytest.fixture(scope="module")
def trace(tiny_trace: Path, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """The tiny trace with its maps and what is computed beside it."""
    path = tmp_path_factory.mktemp("panels") / "tiny.duckdb"
    shutil.copy(tiny_trace, path)
    project(path)
    information(path)
    return open_trace(workspace.trace_file(path))


@pytest.mark.parametrize("page", PAGES | ON_DEMAND)
def test_a_page_is_panels_that_need_no_page(page: str, trace: Trace) -> None:
    assert get_script_run_ctx(suppress_warning=True) is None
    panels = (PAGES | ON_DEMAND)[page](trace)
    assert panels
    assert len({panel.name for panel in panels}) == len(panels)
    for panel in panels:
        assert not panel.table.empty
        assert bool(panel.alt) == (panel.figure is not None)
        assert panel.figure is not None or not panel.answer  # it says what the figure shows
        assert panel.preview is None or not panel.preview.empty
