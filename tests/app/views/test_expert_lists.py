"""Page Expert lists."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app import workspace
from app.jobs.queue import all_jobs
from app.studies import redundancy, summary
from app.studies.expert_lists.making import make
from app.studies.expert_lists.subject import KINDS, Kind, Settings, Subject
from app.trace import Trace, open_trace
from app.views.expert_lists import made as made_module
from app.views.expert_lists import panels as panels_module
from app.views.expert_lists.figures import share_bars
from app.views.expert_lists.panels import CLOSENESS, METHOD, panels
from app.views.expert_lists.words import IN_ITS_OWN, MEASURED, NOT_SURE, READING
from app.views.shared.theme import LIGHT
from tests.app.pages import page, texts
from tests.app.sparse_traces import counted, written
from tests.uneven import write_uneven_trace


@pytest.fixture
def trace(traces: Path) -> Trace:
    write_uneven_trace(traces / "uneven.duckdb")
    return open_trace(workspace.trace_file(traces / "uneven.duckdb"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_list_is_shown_with_its_answer_and_its_file(kind: Kind, trace: Trace) -> None:
    app = page("expert_lists", list=kind)
    assert not app.exception
    assert not app.error
    with trace.cursor() as con:
        answer = make(Subject(con), Settings(kind=kind, keep=3)).answer
    assert answer[:40] in texts(app).replace("&lt;", "<")
    files = [button.proto.label for button in app.get("download_button")]
    assert len([name for name in files if not name.endswith(".csv")]) == 1 + (kind == "tune")


def test_the_command_that_measures_the_cost_makes_the_same_list(trace: Trace) -> None:
    (code,) = page("expert_lists", list="prune", by="weight").code
    assert " --list prune --keep 3 --by weight --model " in code.value
    (code,) = page("expert_lists", list="merge").code
    assert "--by" not in code.value


def test_a_list_of_one_group_is_shown_as_one_that_nothing_else_measures(traces: Path) -> None:
    written(traces / "ids.duckdb", domains=("*law*", "code", "code"))
    app = page("expert_lists", list="tune", domain="*law*")
    assert not app.exception
    said = texts(app)
    assert "of *law*'s choices, in texts that selected them" in said.replace("&#x27;", "'")
    assert NOT_SURE in said
    assert IN_ITS_OWN in said
    assert MEASURED["tune"] not in said


def test_pairs_that_cannot_be_measured_have_no_bars(trace: Trace) -> None:
    with trace.cursor() as con:
        found = make(Subject(con), Settings(kind="merge", keep=3))
    unknown = found.measured.assign(estimate=pd.array([pd.NA] * 3, dtype="Float64"))
    unsure = replace(found, measured=unknown, experts=found.experts.assign(sure=np.nan))
    (panel,) = panels(trace, LIGHT, unsure)
    assert panel.figure is not None
    assert "nan" not in panel.figure.to_json().lower()


def test_bars_below_chance_are_in_the_figure() -> None:
    row = {"name": "0", "estimate": -0.2, "low": -0.4, "high": 0.1, "chance": 0.0, "bound": 0.5}
    measured = pd.DataFrame([row | {"n_groups": 12}])
    figure = share_bars(measured, LIGHT, colors=["red"], measure=CLOSENESS, title="closeness")
    assert figure.layout.xaxis.range[0] < -0.4
    above = measured.assign(estimate=0.2, low=0.1)
    figure = share_bars(above, LIGHT, colors=["red"], measure=CLOSENESS, title="closeness")
    assert figure.layout.xaxis.range[0] == 0


def test_similarities_measured_later_make_a_list_of_pairs_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_module, "_model", lambda settings: tmp_path)
    settings = Settings(kind="merge")
    before = made_module._known(settings)
    (tmp_path / redundancy.FILE).write_bytes(b"1")
    first = made_module._known(settings)
    (tmp_path / redundancy.FILE).write_bytes(b"22")
    assert len({before, first, made_module._known(settings)}) == 3


def test_of_many_domains_the_largest_are_compared(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels_module, "MOST_DOMAINS", 2)
    with trace.cursor() as con:
        found = make(Subject(con), Settings(kind="tune"))
    panel = panels(trace, LIGHT, found)[-1]
    assert panel.figure is not None
    assert len(panel.figure.data[0].z) == 2
    assert "Shown are the 2 domains" in panel.note


def test_every_kind_has_its_words() -> None:
    assert set(READING) == set(METHOD) == set(KINDS)
    assert set(MEASURED) == set(KINDS) - {"watch"}


def test_a_map_marks_the_list_and_a_bar_shows_what_it_carries(trace: Trace) -> None:
    with trace.cursor() as con:
        found = make(Subject(con), Settings(kind="prune", keep=3))
    chart, bars = (panel.figure for panel in panels(trace, LIGHT, found))
    assert chart is not None
    assert bars is not None
    dots = chart.data[-1]
    assert np.array([dots.y, dots.x]).T.tolist() == np.argwhere(found.listed_LE).tolist()
    assert list(bars.data[0].x) == found.measured.estimate.tolist()
    assert [trace.name for trace in bars.data[1:]] == ["95 % interval", "chance", "best possible"]


def test_what_a_trace_lacks_is_said_in_a_sentence(traces: Path) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    app = page("expert_lists", list="merge")
    assert not app.exception
    assert [info.value for info in app.info if info.value.startswith("The trace counts choices")]


def test_a_trace_without_weights_offers_the_load(traces: Path) -> None:
    written(traces / "ids.duckdb")
    app = page("expert_lists", list="prune", by="weight")
    assert [info.value for info in app.info if "weights of the trace are unknown" in info.value]
    assert not page("expert_lists", list="prune").info


def test_the_list_of_a_large_trace_is_a_job(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "LARGE", 0)
    app = page("expert_lists", list="prune")
    assert not app.exception
    (button,) = [button for button in app.button if button.label == "Make the list"]
    app = button.click().run()
    job = next(job for job in reversed(all_jobs().all()) if job.key.startswith("experts|"))
    assert job.ended.wait(120)
    assert job.state == "done", job.error
    assert "with the fewest choices" in texts(app.run())
