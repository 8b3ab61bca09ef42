"""Which models there are to choose from."""

import shutil
from pathlib import Path

from app import model_folders


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
