"""What the pages about a model, a training or a text show, made without a page."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.cause_tests import with_q
from app import workspace
from app.studies import redundancy
from app.studies.reader import CHECKPOINT
from app.trace import open_trace
from app.views.causes import panels as causes
from app.views.comparison import panels as comparison
from app.views.comparison import paper
from app.views.prompts import panels as prompts
from app.views.redundancy import panels as similar
from app.views.shared.panel import Panel
from app.views.shared.theme import LIGHT
from app.views.training import overlay, record
from app.views.training import panels as training


def of_training(tiny_trace: Path) -> list[Panel]:
    [shipped] = [one for one in workspace.trainings() if one.name == "shipped"]
    return training.panels(record.read(shipped), LIGHT)


def of_trainings(tiny_trace: Path) -> list[Panel]:
    records = [record.read(one) for one in workspace.trainings()[:2]]
    return overlay.panels(records, LIGHT, by="tokens")


def of_experiments(tiny_trace: Path) -> list[Panel]:
    table = with_q(pd.read_csv(CHECKPOINT / "causes.csv"), family="experiment")
    return causes.experiments(table, LIGHT)


def of_redundancy(tiny_trace: Path) -> list[Panel]:
    stored = redundancy.stored(CHECKPOINT)
    assert stored is not None
    table = pd.read_csv(CHECKPOINT / "compression.csv")
    costs = similar.costs(stored, table, LIGHT, domain="all")
    return [*similar.panels(stored, LIGHT), costs]


PAGES: dict[str, Callable[[Path], list[Panel]]] = {
    "text": lambda path: prompts.panels(open_trace(workspace.trace_file(path)), LIGHT),
    "training": of_training,
    "trainings": of_trainings,
    "comparison": lambda path: comparison.panels(paper.load(), LIGHT),
    "experiments": of_experiments,
    "redundancy": of_redundancy,
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_panels_that_need_no_page(page: str, tiny_trace: Path) -> None:
    assert get_script_run_ctx(suppress_warning=True) is None
    panels = PAGES[page](tiny_trace)
    assert panels
    assert len({panel.name for panel in panels}) == len(panels)
    for panel in panels:
        is_drawn = panel.figure is not None or panel.name == "coloured_tokens"  # a strip of tokens
        assert is_drawn == (panel.alt != ""), panel.name
        assert not panel.table.empty, panel.name
