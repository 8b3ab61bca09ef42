"""A text while it is continued, as a page is told of it."""

import numpy as np
import pytest

from app.jobs import live
from app.jobs.live import Live, Telling, live_text
from data.routing import NO_EXPERT
from model.capture_generation import Steps, capture_generation
from model.readable import GenerationSettings
from model.transformer import Transformer
from tests.model.captures import Batches, documents
from tests.readable import readable

SETTINGS = GenerationSettings(5, seed=0, temperature=0)


@pytest.fixture
def model() -> Transformer:
    from tests.models import small_config

    made = Transformer(small_config())
    made.initialize(seed=0)
    return made


def told(model: Transformer, text: str) -> tuple[list[Live], Batches]:
    """All that is told of a text, and what is stored of it."""
    seen: list[Live] = []
    sink = Batches()
    capture_generation(
        readable(model),
        documents([text]),
        sink,
        settings=SETTINGS,
        on_step=lambda steps: seen.append(live_text(steps)),
    )
    return seen, sink


def test_tokens_come_one_by_one_with_what_is_stored_of_them(model: Transformer) -> None:
    seen, sink = told(model, "abc")
    stored = sink.joined()
    assert [one.new_tokens for one in seen] == [1, 2, 3, 4, 5]
    last = seen[-1]
    assert (last.text, last.left_out, last.prompt_tokens) == (1, 0, 3)
    assert "".join(last.tokens) == stored.documents[0].text
    assert (last.strongest_TL[:-1] == stored.expert_ids_TLK[:, :, 0]).all()
    assert (last.strongest_TL[-1] == NO_EXPERT).all()  # sampled, and not yet read


def test_of_a_long_prompt_the_end_is_shown(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = told(model, "abcabc")[0][-1]
    monkeypatch.setattr(live, "SHOWN", 2)
    last = told(model, "abcabc")[0][-1]
    assert (last.left_out, last.prompt_tokens) == (4, 2)
    assert last.tokens == whole.tokens[4:]
    assert (last.strongest_TL == whole.strongest_TL[4:]).all()


def test_a_quick_model_is_not_told_of_at_every_step(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 0.1, 0.3, 0.3, 0.4, 0.45])  # a step looks once, and again if it tells
    monkeypatch.setattr(live, "monotonic", lambda: next(clock))
    monkeypatch.setattr(live, "EVERY", 0.2)
    seen: list[Live] = []
    telling = Telling(seen.append)
    counted: list[Steps] = []

    def step(steps: Steps) -> None:
        counted.append(steps)
        telling(steps)

    capture_generation(
        readable(model), documents(["abc"]), Batches(), settings=SETTINGS, on_step=step
    )
    assert len(counted) == 5
    assert [one.new_tokens for one in seen] == [1, 3]


def test_what_is_told_is_small(model: Transformer) -> None:
    last = told(model, "abc")[0][-1]
    assert last.strongest_TL.dtype == np.int16
    assert last.strongest_TL.shape == (8, 2)
