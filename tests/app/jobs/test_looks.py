"""Models looked at before they are loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from app.jobs import looks
from app.jobs.looks import Looks
from app.studies.model_facts import Facts
from model.config_file import LARGEST_FILE
from tests.app.jobs import work
from tests.app.jobs.work import wait_until


@pytest.fixture
def all_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    monkeypatch.setattr(looks, "WARM", 0.01)
    return Looks(tmp_path)


def answer(all_looks: Looks, folder: Path) -> Facts | str:
    wait_until(lambda: all_looks.at(folder) is not None, seconds=200)
    found = all_looks.at(folder)
    assert found is not None
    return found


def test_a_model_of_ours_is_known_at_once(all_looks: Looks, folder: Path) -> None:
    found = all_looks.at(folder)
    assert isinstance(found, Facts)
    assert (found.layers, found.num_experts, found.top_k) == (2, 8, 2)
    assert (found.family, found.scoring, found.transformers) == ("DeepSeekMoE", "softmax", False)


def cut_weights(folder: Path) -> None:
    next(folder.glob("*.safetensors")).write_bytes(b"\x08" + bytes(7) + b"[")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text(" " * LARGEST_FILE + "{}"), "bytes"),
        (cut_weights, "is damaged"),
    ],
)
def test_what_is_wrong_with_a_model_of_ours_is_one_line(
    damage: Callable[[Path], object], words: str, all_looks: Looks, folder: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    damage(broken)
    found = all_looks.at(broken)
    assert isinstance(found, str)
    assert words in found
    assert "\n" not in found


@pytest.mark.slow
def test_one_of_transformers_is_looked_at_in_a_process_and_again_when_it_changes(
    all_looks: Looks, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folder_of("mixtral"), tmp_path / "model"))
    assert all_looks.at(folder) is None
    found = answer(all_looks, folder)
    assert isinstance(found, Facts)
    assert (found.family, found.num_experts, found.top_k) == ("Mixtral", 8, 2)
    assert (found.scoring, found.has_chat, found.continues) == ("softmax", True, True)
    assert all_looks.number == 1
    (folder / "model.safetensors").unlink()
    assert all_looks.at(folder) is None
    assert "model.safetensors is missing" in str(answer(all_looks, folder))
    assert all_looks.number == 2


@pytest.mark.slow
def test_a_process_that_dies_is_an_answer(
    all_looks: Looks, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while: then it is looked at again."""
    with monkeypatch.context() as patched:
        patched.setattr(looks, "look", work.crash)
        assert "ended before the work was done" in str(answer(all_looks, folder_of("mixtral")))
    assert isinstance(all_looks.at(folder_of("mixtral")), str)
    monkeypatch.setattr(looks, "monotonic", lambda: monotonic() + looks.AGAIN)
    assert all_looks.at(folder_of("mixtral")) is None
    assert isinstance(answer(all_looks, folder_of("mixtral")), Facts)
