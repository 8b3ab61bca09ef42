"""Training: resume is exact, schedules and logs are what they say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from model.checkpoint import load_model
from model.config_file import load_config
from model.training.batches import PlainBatches
from model.training.own_model import OwnModel
from model.training.snapshots import snapshot_steps
from model.training.train_config import learning_rate
from model.training.trainer import Trainer
from model.transformer import Transformer
from tests import torchrun
from tests.model.training import short_training
from tests.model.training.short_training import (
    BIASED,
    SCHEDULE,
    batch_of,
    even_batch_of,
    logged,
    losses,
    staged,
    trained,
)
from tests.models import small_config


def test_a_resumed_training_repeats_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "cut", stop_after=3)
    assert trained(tmp_path / "cut") == whole
    assert len(whole) == 6


def test_bias_balancing_resumes_exactly_too(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", config=BIASED)
    trained(tmp_path / "cut", config=BIASED, stop_after=3)
    assert trained(tmp_path / "cut", config=BIASED) == whole


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


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    trained(folder / "taken", config=BIASED, batches=even_batch_of, stop_after=3)
    torchrun.run(2, "-m", short_training.__name__, str(folder))
    return folder


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "progress.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    expected, given = checkpoint(one), checkpoint(other)
    assert expected.keys() == given.keys()
    for name, weight in expected.items():
        if name.startswith("model."):
            assert np.abs(given[name] - weight).max() <= 1e-4, name


def assert_same_log(one: Path, other: Path, *, lines: int | None = None) -> None:
    for key in ("loss", "balance_loss", "grad_norm"):
        given, expected = ([line[key] for line in logged(run)[:lines]] for run in (one, other))
        assert given == pytest.approx(expected, rel=1e-4), key


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_processes_train_like_one(tmp_path: Path, side_by_side: Path) -> None:
    one = trained(tmp_path / "one")
    assert logged(side_by_side / "copied")[0]["tokens"] == 56
    # the processes average gradients over unequal padding, and balance over their own tokens
    assert losses(side_by_side / "copied") == pytest.approx(one, rel=0.01)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_spread_experts_train_like_one_process(tmp_path: Path, side_by_side: Path) -> None:
    one = trained(tmp_path, config=BIASED, batches=even_batch_of)
    assert losses(side_by_side / "even") == pytest.approx(one, abs=1e-4)
    assert_same_weights(tmp_path, side_by_side / "even")
    shipped = [load_model(folder).state_dict() for folder in (tmp_path, side_by_side / "even")]
    assert all(torch.allclose(w, shipped[1][name], atol=1e-2) for name, w in shipped[0].items())


@pytest.mark.slow
@pytest.mark.exhaustive
def test_spread_experts_train_like_copied_ones(side_by_side: Path) -> None:
    assert_same_log(side_by_side / "spread", side_by_side / "copied")
    assert_same_weights(side_by_side / "copied", side_by_side / "spread")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_spread_experts_train_in_stages_like_copied_ones(side_by_side: Path) -> None:
    # with an adversary from the third line on; after the fifth a last bit moves a token's choices
    assert_same_log(side_by_side / "staged spread", side_by_side / "staged copied", lines=5)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_spread_experts_resume_exactly(side_by_side: Path) -> None:
    assert losses(side_by_side / "cut") == losses(side_by_side / "spread")
    whole, cut = checkpoint(side_by_side / "spread"), checkpoint(side_by_side / "cut")
    assert whole.keys() == cut.keys()
    assert all(np.array_equal(cut[name], tensor) for name, tensor in whole.items())


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_checkpoint_changes_hands(side_by_side: Path) -> None:
    """Begun by one process and continued by two, and the other way round."""
    assert losses(side_by_side / "taken") == pytest.approx(losses(side_by_side / "even"), abs=1e-4)
    before = losses(side_by_side / "spread")
    assert trained(side_by_side / "left") == pytest.approx(before, rel=0.01)  # as above


@pytest.mark.slow
@pytest.mark.exhaustive
def test_snapshots_of_spread_experts_are_those_of_the_model(side_by_side: Path) -> None:
    spread, copied = (
        load_file(side_by_side / name / "snapshots.safetensors") for name in ("spread", "copied")
    )
    assert spread.keys() == copied.keys()
    assert all(np.array_equal(spread[name], array) for name, array in copied.items())


def test_a_dense_model_has_nothing_to_spread(tmp_path: Path) -> None:
    model = Transformer(replace(small_config(), num_experts=0, num_shared_experts=0))
    with pytest.raises(ValueError, match="a dense model has no experts to spread"):
        Trainer(OwnModel(model), SCHEDULE, tmp_path, batches=PlainBatches(batch_of), parallel=True)


def test_the_learning_rate_warms_up_linearly_and_ends_at_its_floor() -> None:
    config = replace(SCHEDULE, steps=102, warmup_steps=2, learning_rate=1.0)
    assert learning_rate(0, config) == 0.5
    assert learning_rate(1, config) == 1.0
    assert learning_rate(52, config) == pytest.approx(0.55)  # halfway from 1 to 0.1
    assert learning_rate(102, config) == pytest.approx(0.1)


def test_snapshot_steps_run_from_first_to_last() -> None:
    assert snapshot_steps(10_000, 5) == [1, 10, 100, 1000, 10_000]
    assert snapshot_steps(3, 10) == [1, 2, 3]


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
    recorded = load_file(tmp_path / "snapshots.safetensors")
    assert recorded["domain_id"].tolist() == [0, 1]
    assert {"tokens_00000001", "tokens_00000004", "tokens_00000013"} <= set(recorded)
    tokens_NLE = recorded["tokens_00000013"]
    assert tokens_NLE.shape == (2, 2, 8)
    assert (tokens_NLE.sum(-1) >= 3 * 16).all()
    chosen_FLE = np.unpackbits(recorded["chosen_00000013"], axis=-1)
    assert chosen_FLE.shape == (2, 2, 8)  # 32 tokens, every 16th
    assert ((chosen_FLE.sum(-1) >= 3) & (chosen_FLE.sum(-1) <= 6)).all()
