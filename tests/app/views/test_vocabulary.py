"""The page Vocabulary: experts of the word, and of the subject beyond it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app import workspace
from app.commands.information import information
from app.sidecars import INFORMATION, VOCABULARY
from app.trace import open_trace
from app.views.shared import controls
from app.views.shared.theme import LIGHT
from app.views.vocabulary import figures as vocabulary
from app.views.vocabulary import panels, tables
from app.views.vocabulary.beyond_words import draw_rest
from tests.sidecars import write_earlier


def test_vocabulary_lines_leave_gaps_where_nothing_is_known() -> None:
    columns = ("plain", "share", "expected", "corrected", "null", "p", "q")
    table = pd.DataFrame({"layer_id": [0, 1], **{name: [0.5, None] for name in columns}})
    table = table.assign(low=[0.25, np.nan], high=[0.625, np.nan], n_documents=9, n_groups=4)
    figure = vocabulary.vocabulary_lines(
        table.assign(n_tokens=1234).convert_dtypes(), LIGHT, marked=0
    )
    assert [line.y for line in figure.data] == [(0.5, None)] * 4
    assert figure.data[3].error_y.array == (0.125, 0)
    assert figure.data[3].error_y.arrayminus == (0.25, 0)
    told = "<br>95 % interval: 25.0% to 62.5%<br>50.0% with words permuted within each text"
    assert figure.data[3].customdata[0] == (
        f"{told}<br>p 0.500, q 0.500 (over layers)<br>9 texts in 4 groups, 1,234 tokens"
    )


def test_results_of_an_earlier_version_are_counted_again(tmp_path: Path, tiny_trace: Path) -> None:
    path = tmp_path / "tiny.duckdb"
    shutil.copy(tiny_trace, path)
    trace = open_trace(workspace.trace_file(path))
    old = pd.DataFrame({"layer_id": [0, 1], "p": 0.5, "information_p": 0.5, "n_documents": 60})
    for kind in (INFORMATION, VOCABULARY):
        write_earlier(path, kind, old, created_at=trace.info.created_at.isoformat())
    assert tables.information(trace) is None
    assert tables.summary(trace).n_documents.tolist() == [3, 3]


def test_a_note_is_plain_text(tiny_trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(tables, "WHOLE", 0)
    monkeypatch.setattr(controls, "note", notes.append)
    draw_rest(open_trace(workspace.trace_file(tiny_trace)))
    assert notes == ["routescope information counts the words of all layers."]


def test_until_all_layers_are_counted_the_chosen_one_is_shown(
    tmp_path: Path, tiny_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.duckdb"
    shutil.copy(tiny_trace, path)
    trace = open_trace(workspace.trace_file(path))
    whole = tables.summary(trace)
    monkeypatch.setattr(tables, "WHOLE", 0)
    table = tables.summary_with(trace, 1)
    assert table.reason[0] == tables.COMING
    assert table.plain[1] == whole.plain[1]
    assert table.n_documents.tolist() == [0, 3]
    assert table.q.isna().all()
    assert panels.layer_figure(trace) is None
    shown = {panel.name: panel for panel in panels.panels(trace, LIGHT, layer_id=1)}
    figure = shown["vocabulary_by_layer"].figure
    assert figure is not None
    assert figure.data[0].y == (None, whole.plain[1])
    information(path)
    assert tables.summary_with(trace, 1).reason.tolist() == whole.reason.tolist()
    bars = panels.layer_figure(trace)
    assert bars is not None
    assert len(bars.values_L) == 2


def test_information_below_its_null_is_no_bar() -> None:
    table = pd.DataFrame(
        {"layer_id": [0], "information": [0.3], "information_null": [0.1], "information_p": [0.02]}
    ).assign(beyond=-0.1, p=0.9, low=-0.2, high=0.05, null=0.15, n_documents=9, n_tokens=1234)
    table = table.assign(q=0.95, information_q=0.04, n_groups=4)
    alone, beyond = vocabulary.information_bars(table, LIGHT).data
    assert alone.y == pytest.approx((0.2,))
    assert beyond.y == (0.0,)
    assert (beyond.error_y.array, beyond.error_y.arrayminus) == ((0.05,), (0.0,))
    assert alone.customdata[0].startswith("0.1000 by chance<br>p 0.020, q 0.040 (over layers)")
    assert beyond.customdata[0] == (
        "95 % interval: -0.2000 to 0.0500<br>0.1500 by chance<br>"
        "p 0.900, q 0.950 (over layers)<br>9 texts in 4 groups, 1,234 tokens"
    )
