"""What a training keeps, what it refuses to replace, and what it continues."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from data.outputs import only_writer
from model.training.batches import PlainBatches
from model.training.own_model import OwnModel
from model.training.snapshots import Sample
from model.training.trainer import DivergedError, Progress, Trainer
from model.transformer import Transformer
from tests.model.training.short_training import (
    SCHEDULE,
    batch_of,
    trained,
)
from tests.models import small_config


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=2)
    before = (tmp_path / "progress.safetensors").read_bytes()
    model = Transformer(small_config())
    trainer = Trainer(OwnModel(model), SCHEDULE, tmp_path, batches=PlainBatches(batch_of))

    def poison(progress: Progress) -> None:
        with torch.no_grad():
            model.norm.weight_D.fill_(torch.nan)

    with pytest.raises(DivergedError, match="by step 4"):
        trainer.run(on_progress=poison, should_stop=lambda: False)
    assert (tmp_path / "progress.safetensors").read_bytes() == before


def test_no_checkpoint_is_written_after_the_loss_was_lost(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, log_every=5, checkpoint_every=2)  # the checkpoints come unlogged
    model = Transformer(small_config())

    def poisoned(step: int) -> np.ndarray:
        if step == 3:
            with torch.no_grad():
                model.norm.weight_D.fill_(torch.nan)
        return batch_of(step)

    trainer = Trainer(OwnModel(model), schedule, tmp_path, batches=PlainBatches(poisoned))
    with pytest.raises(DivergedError, match="by step 4"):
        trainer.run(on_progress=lambda progress: None, should_stop=lambda: False)
    with safe_open(tmp_path / "progress.safetensors", "pt") as kept:
        assert kept.metadata() == {"step": "2"}
        assert kept.get_tensor("model.norm.weight_D").isfinite().all()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def refused_and_kept(folder: Path, line: str) -> None:
    before = contents(folder)
    with pytest.raises(ValueError, match=line):
        trained(folder)
    assert contents(folder) == before


def test_a_model_without_progress_is_not_replaced(tmp_path: Path) -> None:
    trained(tmp_path)
    (tmp_path / "progress.safetensors").unlink()
    refused_and_kept(tmp_path, "is not replaced; choose another folder")
    (tmp_path / "train_config.json").unlink()
    refused_and_kept(tmp_path, "is not an empty folder")


def test_a_log_that_goes_past_the_first_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=3)
    (tmp_path / "progress.safetensors").unlink()
    log = tmp_path / "train_log.jsonl"
    log.write_text(log.read_text() * 40)  # a checkpoint is due after 100 lines
    refused_and_kept(tmp_path, "is not replaced")


def test_a_training_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "cut", stop_after=3)
    (tmp_path / "cut" / "progress.safetensors").unlink()
    for half in ("progress.safetensors.partial", ".tmpJ3kuBt"):
        (tmp_path / "cut" / half).write_bytes(b"half")
    assert trained(tmp_path / "cut") == whole
    assert not [*(tmp_path / "cut").glob("*.partial"), *(tmp_path / "cut").glob(".tmp*")]


def test_a_finished_training_that_is_run_again_stays(tmp_path: Path) -> None:
    trained(tmp_path)
    before = contents(tmp_path)
    trained(tmp_path)
    assert contents(tmp_path) == before


def test_what_another_process_trains_is_left_alone(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=3)
    with only_writer(tmp_path):
        refused_and_kept(tmp_path, "another process is writing to")


@pytest.mark.parametrize("name", ["progress.safetensors", "train_config.json"])
def test_a_damaged_file_of_a_training_is_named(tmp_path: Path, name: str) -> None:
    trained(tmp_path, stop_after=3)
    (tmp_path / name).write_bytes(b"{")
    refused_and_kept(tmp_path, name)


def test_weights_that_are_lost_in_a_step_are_not_kept(tmp_path: Path) -> None:
    """The loss is of the weights before the step, so it does not tell."""
    trained(tmp_path, stop_after=2)
    before = contents(tmp_path)
    model = Transformer(small_config())
    sample = Sample(np.arange(32).reshape(2, 16), np.array([0, 1]), ("a", "b"))
    batches = PlainBatches(batch_of)
    trainer = Trainer(OwnModel(model), SCHEDULE, tmp_path, batches=batches, sample=sample)
    step = trainer.parameters.optimizer.step

    def overflow() -> None:
        step()
        model.norm.weight_D.data[0] = torch.inf

    trainer.parameters.optimizer.step = overflow  # type: ignore[method-assign,assignment]
    with pytest.raises(DivergedError, match="a weight is no finite number by step 3"):
        trainer.run(on_progress=lambda progress: None, should_stop=lambda: True)
    after = contents(tmp_path)
    assert after.pop("train_log.jsonl") != before.pop("train_log.jsonl")
    assert after == before
    assert len(trained(tmp_path)) == 6  # what is left can be continued


def test_a_log_cut_within_a_line_is_continued(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "cut", stop_after=3)
    with (tmp_path / "cut" / "train_log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 4, "tok')
    assert trained(tmp_path / "cut") == whole


def test_a_training_is_not_continued_with_another_corpus(tmp_path: Path) -> None:
    def on(corpus: str | None) -> Trainer:
        model = Transformer(small_config())
        batches = PlainBatches(batch_of)
        return Trainer(OwnModel(model), SCHEDULE, tmp_path, batches=batches, corpus=corpus)

    on("one").run(on_progress=lambda progress: None, should_stop=lambda: True)
    on("one")
    with pytest.raises(ValueError, match=r"other settings \(corpus\)"):
        on("two")


def test_a_training_whose_corpus_is_not_on_record_is_continued(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=3)
    Trainer(
        OwnModel(Transformer(small_config())),
        SCHEDULE,
        tmp_path,
        batches=PlainBatches(batch_of),
        corpus="x",
    )
