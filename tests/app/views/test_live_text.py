"""A text on the page Prompts while the model continues it."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.jobs.live import Live
from app.jobs.queue import all_jobs
from app.views.prompts import live
from data.routing import NO_EXPERT
from tests.app.markup import MARKUP
from tests.app.pages import page, run_button, texts

TEXT = Live(
    text=2,
    left_out=0,
    prompt_tokens=2,
    tokens=["the", "\n", MARKUP, "", "x"],
    special=[None, None, None, "<s>", None],
    strongest_TL=np.array([[5, 1], [6, 2], [7, 3], [8, 4], [NO_EXPERT, NO_EXPERT]], np.int16),
)


def test_each_token_has_the_expert_of_the_layer_and_the_newest_none_yet() -> None:
    html = live.markup(TEXT, 1)
    assert html.count("<b>") == 2
    assert html.count("<b class=new>") == 3
    numbers = [part.split("</sub>")[0] for part in html.split("<sub>")[1:]]
    assert numbers == ["1", "2", "3", "4", ""]
    assert html.count("<br>") == 1
    assert "&lt;s&gt;<sub>4" in html
    assert "<a" not in html


def test_what_is_shown_is_said() -> None:
    assert live.said(TEXT, 3).startswith("Text 2 of 3: 3 new tokens. Small number: the expert")
    assert live.said(replace(TEXT, left_out=40), 1).startswith(
        "3 new tokens; of the prompt the last 2 tokens are shown. "
    )


@pytest.mark.slow
def test_a_continuation_is_seen_as_it_comes_and_stopped(
    runnable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page("prompts")
    app.text_area(key="pasted").set_value("the cat\n\nsat")
    assert "2 texts. Blank lines" in texts(app.run())
    app.number_input(key="new_tokens").set_value(8)
    run_button(app).click().run()
    job = all_jobs().get(f"run|{app.session_state.run}")
    assert job is not None
    assert job.ended.wait(300)
    shown = replace(job, state="running", live=TEXT, total=2, enough=threading.Event())
    monkeypatch.setattr(type(all_jobs()), "get", lambda jobs, key: shown)
    app = app.run()
    assert not app.exception
    assert 'class="rs-live"' in texts(app)
    assert "<sub>5</sub>" in texts(app)
    app.segmented_control(key="live_layer_run").set_value(1).run()
    assert "<sub>1</sub>" in texts(app)
    app.button(key="enough_run").click().run()
    assert shown.enough.is_set()
    assert app.button(key="enough_run").disabled
