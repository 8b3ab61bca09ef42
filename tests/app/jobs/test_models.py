"""Models in the memory of the process of jobs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.jobs import models
from app.jobs.live import Live
from app.jobs.worker import Kept, Progress
from app.studies.model_facts import Loaded
from app.studies.reader import Sampling
from data.store import open_trace

BIG = models.job_memory()


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path)


def kept(size: int) -> Kept:
    return Kept(None, size, None)


def test_a_model_is_loaded_once_until_its_files_change(progress: Progress, folder: Path) -> None:
    first = models.tracer(progress, folder)
    assert models.tracer(progress, folder) is first
    os.utime(folder / "config.json")
    assert models.tracer(progress, folder) is not first
    assert len(progress.kept) == 1


def test_with_and_without_the_chat_template_the_weights_are_the_same(
    progress: Progress, folder_of: Callable[[str], Path]
) -> None:
    plain: Any = models.tracer(progress, folder_of("mixtral")).model
    chat: Any = models.tracer(progress, folder_of("mixtral"), chat=True).model
    assert chat.module is plain.module
    assert (plain.text.chat, chat.text.chat) == (False, True)
    assert chat.read(["hi"])[0].token_ids != plain.read(["hi"])[0].token_ids
    [one] = progress.kept.values()
    assert one.size == 4 * sum(weight.numel() for weight in plain.module.parameters())


@pytest.mark.parametrize(
    ("sizes", "left"),
    [
        ([1], ["0"]),
        ([1, 1], ["1"]),  # the one that was used last stays
        ([BIG // 2], []),  # both would leave less than half to what runs
    ],
)
def test_a_model_makes_room_for_the_next_before_that_is_read(
    sizes: list[int], left: list[str], progress: Progress, folder: Path
) -> None:
    for name, size in enumerate(sizes):
        progress.keep(str(name), kept(size))
    while_loading: list[str] = []

    def listen(update: dict[str, Any]) -> None:
        if update == {"note": f"loading {folder.name}"}:
            while_loading.extend(progress.kept)

    progress.send = listen
    models.load(progress, folder)
    assert while_loading == left
    assert list(progress.kept) == [*left, str(folder.resolve())]


def test_unloading_gives_up_one_model(progress: Progress, folder: Path) -> None:
    progress.keep("other", kept(1))
    models.load(progress, folder)
    described = progress.kept[str(folder.resolve())].described
    assert isinstance(described, Loaded)
    assert described.facts.num_experts == 8
    models.unload(progress, folder)
    assert list(progress.kept) == ["other"]


def test_progress_is_what_has_been_read(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    taken = iter([100 << 20, *[103 << 20] * 10_000])
    monkeypatch.setattr(models, "LOOK", 0.001)
    monkeypatch.setattr(models, "_taken", lambda machine: next(taken))
    progress.send = told.append
    with models._counting(progress, "big", 4 << 20, models.Machine()):
        while not told:
            pass
    assert told[0] == {"done": 3, "total": 4, "unit": "MB of big"}
    assert told[-1] == {"done": 0, "total": 0}


def test_a_folder_without_a_model_is_one_line(progress: Progress, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no model in {tmp_path}"):
        models.load(progress, tmp_path)


def test_a_run_says_which_model_it_read_with(
    progress: Progress, folder_of: Callable[[str], Path]
) -> None:
    from app.jobs import prompts

    text = prompts.pasted("hi")
    folder = folder_of("mixtral")
    out = progress.folder / "runs" / ("0" * 32)
    result = prompts.run(
        progress, folder, text, None, out=out, title="hi", name="models/mixtral", chat=True
    )
    assert result.model == "models/mixtral"
    with open_trace(result.path) as con:
        rows = con.execute("SELECT model_name, config -> '$.capture.prompts' FROM trace").fetchall()
        read = con.execute("SELECT string_agg(text, '') FROM token").fetchall()
    [(model_name, capture)] = rows
    assert model_name.startswith("MixtralForCausalLM")
    assert '"models/mixtral"' in capture
    assert '"chat":true' in capture.replace(" ", "")
    assert "hi" in read[0][0]


def test_a_continuation_of_a_transformers_model_is_told_of(
    progress: Progress, folder_of: Callable[[str], Path]
) -> None:
    from app.jobs import prompts

    lives: list[Live] = []

    def send(update: dict[str, object]) -> None:
        if isinstance(live := update.get("live"), Live):
            lives.append(live)

    progress.send = send
    sampling = Sampling(new_tokens=3, temperature=0.0, top_p=None, seed=0)
    out = progress.folder / "runs" / ("0" * 32)
    text = prompts.pasted("hi")
    run = prompts.run(progress, folder_of("mixtral"), text, sampling, out=out, title="hi")
    first = lives[0]  # the others come too soon after it to be told of
    assert (first.special[0], "".join(first.tokens[1:3]), first.new_tokens) == ("<s>", "hi", 1)
    with open_trace(run.path) as con:
        stored = con.execute(
            "SELECT expert_id FROM routing WHERE rank = 0 AND position < 3 "
            "ORDER BY position, layer_id"
        ).fetchall()
    assert first.strongest_TL[:3].ravel().tolist() == [row[0] for row in stored]
