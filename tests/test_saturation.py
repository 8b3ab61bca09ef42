from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.saturation import router_saturation, saturation_null, saturation_table
from data.snapshots import read_snapshots

FINAL_TLK = np.array([[[0, 1], [2, 3]], [[0, 1], [2, 3]]])  # 2 tokens, 2 layers, 2 of 4
EARLY_TLK = np.array([[[1, 2], [0, 1]], [[3, 2], [3, 2]]])


def test_saturation_is_the_share_of_final_choices_made_already():
    # layer 0: one of two, then none; layer 1: none, then both in another order
    assert router_saturation(EARLY_TLK, FINAL_TLK).tolist() == [0.25, 0.5]


def test_saturation_of_independent_choices_is_k_over_experts():
    rng = np.random.default_rng(0)
    a, b = (rng.random((4000, 1, 8)).argsort(-1)[..., :2] for _ in range(2))
    assert saturation_null(8, 2) == 0.25
    assert router_saturation(a, b)[0] == pytest.approx(0.25, abs=0.02)


def test_saturation_refuses_different_samples():
    with pytest.raises(ValueError, match="same tokens"):
        router_saturation(EARLY_TLK[:1], FINAL_TLK)


def test_saturation_table_ends_at_one():
    table = saturation_table({100: FINAL_TLK, 1: EARLY_TLK})
    assert table.step.tolist() == [1, 1, 100, 100]
    assert table.layer_id.tolist() == [0, 1, 0, 1]
    assert table.saturation.tolist() == [0.25, 0.5, 1.0, 1.0]


def test_saturation_table_needs_snapshots():
    with pytest.raises(ValueError, match="no snapshots"):
        saturation_table({})


def test_snapshots_come_back_by_step(tmp_path: Path):
    path = tmp_path / "snapshots.safetensors"
    arrays = {"step_00000100": FINAL_TLK, "step_00000001": EARLY_TLK, "token_ids": np.arange(2)}
    save_file({name: array.astype(np.uint8) for name, array in arrays.items()}, path)
    snapshots = read_snapshots(path)
    assert list(snapshots) == [1, 100]
    assert (snapshots[100] == FINAL_TLK).all()


def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path):
    path = tmp_path / "snapshots.safetensors"
    with pytest.raises(ValueError, match="not found"):
        read_snapshots(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_snapshots(path)
    save_file({"token_ids": np.arange(2)}, path)
    with pytest.raises(ValueError, match="no routing snapshots"):
        read_snapshots(path)
