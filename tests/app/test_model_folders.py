"""Which models there are to choose from."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from analysis.queries import TraceInfo
from app import model_folders, workspace
from data.strict_json import json_text


def names() -> list[str]:
    return [model.name for model in model_folders.models()]


def test_models_of_all_places_have_names(model: Path, tmp_path: Path) -> None:
    for place in ("models/one", "models/org/two", "runs/mine", "runs/sweep/a"):
        shutil.copytree(model, tmp_path / place)
    assert names() == ["model", "models/one", "models/org/two", "runs/mine", "runs/sweep/a"]


def test_trainings_without_weights_are_none(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "runs" / "begun")
    for weights in (tmp_path / "runs" / "begun").glob("*.safetensors"):
        weights.unlink()
    assert names() == ["model"]


def test_what_is_no_model_is_listed_too(model: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "empty").mkdir(parents=True)
    (tmp_path / "models" / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "models" / ".hidden").mkdir()
    (tmp_path / "models" / "read.me").write_text("")
    assert names() == ["model", "models/empty", "models/link"]


def test_a_folder_under_two_names_is_one_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "again").symlink_to(model)
    assert names() == ["model"]


def test_the_name_of_a_folder_need_not_be_text(model: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    shutil.copytree(model, tmp_path / "models" / "a\udcff")
    assert names() == ["model", "models/a\\udcff"]


def test_the_model_of_a_trace_is_found_among_those_there_are(
    folder_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.huggingface.loading import load_huggingface

    models = tmp_path / "models"
    for name in ("mixtral", "olmoe", "qwen3_moe"):
        shutil.copytree(folder_of(name), models / name)
    (models / "damaged").mkdir()
    (models / "damaged" / "config.json").write_text("{")
    monkeypatch.setenv("ROUTESCOPE_MODELS", str(models))
    described = load_huggingface(folder_of("olmoe")).description().config
    config = {"model": json.loads(json_text(described))}
    info = cast(TraceInfo, SimpleNamespace(config=config))
    assert model_folders.model_of(info) == models / "olmoe"
    shutil.rmtree(models / "olmoe")
    assert model_folders.model_of(info) == workspace.checkpoint()
