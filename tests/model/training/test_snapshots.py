import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.folders import SHIPPED
from data.routing import DOMAINS
from data.snapshots import read_snapshots
from tests.trainings import write_snapshots

TOKENS_NLE = np.arange(2 * 1 * 10).reshape(2, 1, 10)
CHOSEN_SLE = np.array([[[True] + [False] * 8 + [True]], [[False] * 10], [[True] * 10]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "snapshots.safetensors"
    chosen, tokens = {100: CHOSEN_SLE, 1: ~CHOSEN_SLE}, {100: TOKENS_NLE, 1: 0 * TOKENS_NLE}
    write_snapshots(found, chosen, tokens, domain_id_N=[0, 1])
    return found


def test_snapshots_come_back_by_step(path: Path) -> None:
    found = read_snapshots(path)
    assert found.steps == [1, 100]
    assert found.domains == ("math", "code")
    assert found.domain_id_N.tolist() == [0, 1]
    assert (found.tokens_NLE[100] == TOKENS_NLE).all()


def test_a_token_may_choose_any_number_of_experts(path: Path) -> None:
    found = read_snapshots(path)
    assert (found.choices(100) == CHOSEN_SLE).all()
    assert found.choices(100).sum(-1).ravel().tolist() == [2, 0, 10]
    assert found.choices(1).sum(-1).ravel().tolist() == [8, 10, 0]  # bits after E are no expert


def test_a_file_that_is_no_snapshot_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="not found"):
        read_snapshots(path.with_name("other"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_snapshots(path)
    save_file({"token_ids": np.arange(2)}, path)
    with pytest.raises(ValueError, match="no routing snapshots"):
        read_snapshots(path)


def test_a_file_of_the_format_before_asks_for_training_again(path: Path) -> None:
    save_file({"step_00000001": np.zeros((1, 1, 1), np.uint8)}, path)
    with pytest.raises(ValueError, match="train again"):
        read_snapshots(path)


def test_metadata_that_is_missing_or_no_json_is_refused(path: Path) -> None:
    arrays: dict[str, np.ndarray] = {"domain_id": np.zeros(1, np.uint8)}
    arrays["tokens_00000001"] = np.zeros((1, 1, 8), np.uint16)
    arrays["chosen_00000001"] = np.zeros((1, 1, 1), np.uint8)
    incomplete: list[dict[str, str]] = [{}, {"num_experts": "8", "domains": "math"}]
    for metadata in incomplete:
        save_file(arrays, path, metadata)
        with pytest.raises(ValueError, match="train again"):
            read_snapshots(path)
    save_file(arrays, path, {"num_experts": "9", "domains": json.dumps(["math"])})
    with pytest.raises(ValueError, match="does not fit together"):
        read_snapshots(path)


def test_the_shipped_snapshots_count_all_positions_and_follow_every_fourth() -> None:
    found = read_snapshots(SHIPPED / "data" / "checkpoint" / "snapshots.safetensors")
    assert found.domains == DOMAINS
    assert found.domain_id_N.tolist() == [g for g in range(6) for _ in range(6)]
    assert len(found.steps) == 10
    for step in found.steps:
        assert (found.tokens_NLE[step].sum(-1) == 512 * 6).all()
        assert found.choices(step).shape == (36 * 512 // 4, 7, 64)
        assert (found.choices(step).sum(-1) == 6).all()
