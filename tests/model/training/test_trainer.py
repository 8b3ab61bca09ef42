"""Training: resume is exact, schedules and logs are what they say."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from model.checkpoint import load_config
from model.training.snapshots import Sample, snapshot_steps
from model.training.stages import Stage
from model.training.train_config import TrainConfig, learning_rate
from model.training.trainer import DivergedError, Progress, Trainer
from model.transformer import Transformer
from tests.model.training import short_training
from tests.model.training.short_training import SCHEDULE, batch_of, trained
from tests.models import small_config, small_dsr


def test_a_resumed_training_repeats_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "cut", stop_after=3)
    assert trained(tmp_path / "cut") == whole
    assert len(whole) == 6


def test_bias_balancing_resumes_exactly_too(tmp_path: Path) -> None:
    config = replace(small_config(), balancing="bias", expert_loss_weight=0.0)
    whole = trained(tmp_path / "whole", config=config)
    trained(tmp_path / "cut", config=config, stop_after=3)
    assert trained(tmp_path / "cut", config=config) == whole


def test_the_log_counts_tokens_without_padding(tmp_path: Path) -> None:
    trained(tmp_path)
    lines = (tmp_path / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    # four rows of 16 targets; the padded one keeps targets 1 to 8
    assert [json.loads(line)["tokens"] for line in lines[:2]] == [56, 112]
    assert len(json.loads(lines[0])["max_violation"]) == 2


def test_a_training_with_other_settings_is_not_continued(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=3)
    with pytest.raises(ValueError, match="other settings \\(model\\)"):
        trained(tmp_path, config=replace(small_config(), top_k=1))


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=2)
    before = (tmp_path / "progress.safetensors").read_bytes()
    model = Transformer(small_config())
    trainer = Trainer(model, SCHEDULE, tmp_path, batches=batch_of)

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

    trainer = Trainer(model, schedule, tmp_path, batches=poisoned)
    with pytest.raises(DivergedError, match="by step 4"):
        trainer.run(on_progress=lambda progress: None, should_stop=lambda: False)
    with safe_open(tmp_path / "progress.safetensors", "pt") as kept:
        assert kept.metadata() == {"step": "2"}
        assert kept.get_tensor("model.norm.weight_D").isfinite().all()


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    one = trained(tmp_path / "one")
    command = ["torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m"]
    subprocess.run(
        [sys.executable, "-m", *command, short_training.__name__, str(tmp_path / "two")],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = (tmp_path / "two" / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    two = [json.loads(line) for line in lines]
    assert two[0]["tokens"] == 56
    # the processes average gradients over unequal padding, and balance over their own tokens
    assert [line["loss"] for line in two] == pytest.approx(one, rel=0.01)


def test_the_learning_rate_warms_up_linearly_and_ends_at_its_floor() -> None:
    config = replace(SCHEDULE, steps=102, warmup_steps=2, learning_rate=1.0)
    assert learning_rate(0, config) == 0.5
    assert learning_rate(1, config) == 1.0
    assert learning_rate(52, config) == pytest.approx(0.55)  # halfway from 1 to 0.1
    assert learning_rate(102, config) == pytest.approx(0.1)


def test_snapshot_steps_run_from_first_to_last() -> None:
    assert snapshot_steps(10_000, 5) == [1, 10, 100, 1000, 10_000]
    assert snapshot_steps(3, 10) == [1, 2, 3]


class Repeated:
    """Two domains, one of which is easy: one token over and over."""

    domains: tuple[str, ...] = ("easy", "hard")
    corpus_G = np.array([0.5, 0.5])

    def batch(self, domain_B: np.ndarray, drawn_G: np.ndarray, length: int) -> np.ndarray:
        rng = np.random.default_rng(int(drawn_G.sum()))
        ids_BS = rng.integers(0, 32, size=(len(domain_B), length + 1))
        ids_BS[domain_B == 0] = 7
        return ids_BS


STAGED = TrainConfig(
    steps=9,
    batch_size=4,
    learning_rate=1e-2,
    warmup_steps=2,
    log_every=2,
    checkpoint_every=100,
    stages=(
        Stage(name="first", percent=50, min_k=1, max_k=2, curriculum=True),
        Stage(name="second", percent=50, batch=0.5, min_k=3, max_k=6, adversarial=True),
    ),
)


def staged(folder: Path, *, stop_after: int | None = None) -> list[dict[str, Any]]:
    """The log of a training in two stages: 4 steps, then 9 of half the batch."""
    model = Transformer(small_dsr())
    sample = Sample(np.arange(32).reshape(2, 16), np.array([0, 1]), ("easy", "hard"))
    trainer = Trainer(model, STAGED, folder, batches=Repeated(), sample=sample)
    trainer.run(
        on_progress=lambda progress: None,
        should_stop=lambda: stop_after is not None and trainer.step >= stop_after,
    )
    log = (folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in log]


def lasting(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "tokens_per_second"}


@pytest.mark.parametrize("cut", [2, 6])
def test_stages_resume_exactly(tmp_path: Path, cut: int) -> None:
    whole = staged(tmp_path / "whole")
    staged(tmp_path / "cut", stop_after=cut)
    again = staged(tmp_path / "cut")
    assert [lasting(line) for line in again] == [lasting(line) for line in whole]


def test_the_log_tells_the_stages(tmp_path: Path) -> None:
    log = staged(tmp_path)
    assert [line["stage"] for line in log] == ["first"] * 2 + ["second"] * 5
    assert [line["sequence_length"] for line in log[:3]] == [4, 16, 16]  # 16 / 4, then whole
    assert all(1 <= k <= 2 for line in log[:2] for k in line["chosen"])
    assert all(3 <= k <= 6 for line in log[2:] for k in line["chosen"])
    assert log[0]["consistency"] is None
    assert log[-1]["consistency"] > 0
    assert sum(log[0]["domain_share"].values()) == pytest.approx(1)
    assert log[-1]["domain_loss"]["easy"] < log[-1]["domain_loss"]["hard"]
    settings = json.loads((tmp_path / "train_config.json").read_text(encoding="utf-8"))
    assert settings["stage_ends"] == [["first", 4], ["second", 13]]


def test_the_model_that_is_saved_has_the_limits_of_the_last_stage(tmp_path: Path) -> None:
    staged(tmp_path)
    config = load_config(tmp_path)
    assert (config.min_k, config.top_k) == (3, 6)


def test_snapshots_follow_documents_and_tokens(tmp_path: Path) -> None:
    staged(tmp_path)
    found = load_file(tmp_path / "snapshots.safetensors")
    assert found["domain_id"].tolist() == [0, 1]
    assert {"tokens_00000001", "tokens_00000004", "tokens_00000013"} <= set(found)
    tokens_NLE = found["tokens_00000013"]
    assert tokens_NLE.shape == (2, 2, 8)
    assert (tokens_NLE.sum(-1) >= 3 * 16).all()
    chosen_FLE = np.unpackbits(found["chosen_00000013"], axis=-1)
    assert chosen_FLE.shape == (2, 2, 8)  # 32 tokens, every 16th
    assert ((chosen_FLE.sum(-1) >= 3) & (chosen_FLE.sum(-1) <= 6)).all()


def test_a_log_cut_within_a_line_is_continued(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "cut", stop_after=3)
    with (tmp_path / "cut" / "train_log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 4, "tok')
    assert trained(tmp_path / "cut") == whole
