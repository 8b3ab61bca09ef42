from pathlib import Path

import pytest

from app import folders


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUTESCOPE_TRACES", "ROUTESCOPE_RUNS", "ROUTESCOPE_MODELS"):
        monkeypatch.delenv(name, raising=False)


def test_in_the_repository_traces_and_trainings_are_its_own() -> None:
    root = Path(__file__).parents[2]
    assert (folders.traces(), folders.runs()) == (root / "traces", root / "runs")
    assert folders.models() == root / "models"


def test_installed_they_lie_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages" / "routescope").mkdir(parents=True)
    monkeypatch.setattr(folders, "SHIPPED", tmp_path / "site-packages" / "routescope")
    monkeypatch.chdir(tmp_path)
    assert (folders.traces(), folders.runs()) == (tmp_path / "traces", tmp_path / "runs")


def test_a_variable_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTESCOPE_TRACES", "elsewhere")
    assert folders.traces() == Path("elsewhere")
