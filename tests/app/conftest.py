"""Workspaces and models that tests of pages, commands and studies share."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.components.v2 import manifest_scanner

from app import workspace
from app.cli import main
from app.jobs import beside
from model.checkpoint import save_model
from model.transformer import Transformer
from tests.app.incomplete_traces import CASES
from tests.app.shell import Run
from tests.models import small_config
from tests.tokenizers import byte_tokenizer, cat_tokenizer
from tests.trainings import log_line, write_config, write_log, write_snapshots


@pytest.fixture(scope="session", autouse=True)
def components_scanned_once() -> Iterator[None]:
    """Every AppTest asks all installed packages for components, which takes longer than a page."""
    with pytest.MonkeyPatch.context() as patch:
        scan = cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True)
def nothing_starts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for job in ("summary", "project", "information", "cache", "words"):
        monkeypatch.setattr(beside, job, lambda trace: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 2 MoE layers, 8 experts, top 2, a context of 16 bytes."""
    path = tmp_path_factory.mktemp("model")
    model = Transformer(replace(small_config(), vocab_size=257))
    model.initialize(seed=0)
    save_model(model, path, dtype=torch.float32)
    byte_tokenizer().save(str(path / "tokenizer.json"))
    return path


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace without a model or trainings."""
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path / "traces"))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "model"))
    monkeypatch.setenv("ROUTESCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ROUTESCOPE_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(workspace, "SHIPPED_TRAININGS", tmp_path / "stages")
    (tmp_path / "traces").mkdir()
    return tmp_path / "traces"


@pytest.fixture(scope="session")
def incomplete_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("incomplete")
    for name, (write, _) in CASES.items():
        write(folder / f"{name}.duckdb")
    return folder


@pytest.fixture
def incomplete_traces(
    incomplete_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A workspace with the traces of tests/app/incomplete_traces.py and no model."""
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(incomplete_files))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "none"))
    return incomplete_files


@pytest.fixture
def model(tmp_path: Path, traces: Path) -> Path:
    """A model that reads bytes, and the log of a training that it never had."""
    folder = tmp_path / "model"
    made = Transformer(replace(small_config(), vocab_size=300, context_length=64))
    made.initialize(seed=0)
    save_model(made, folder)
    cat_tokenizer().save(str(folder / "tokenizer.json"))
    write_log(folder, [log_line(1), log_line(2)])
    write_config(folder, steps=2)
    bits = {"math": 2.0, "all": 2.0}
    (folder / "evaluation.json").write_text(
        json.dumps({"moe": bits, "dense": {**bits, "all": 2.5}})
    )
    chosen_SLE = np.array([[[True, True, False, False]] * 2])
    write_snapshots(
        folder / "snapshots.safetensors",
        {1: chosen_SLE, 2: chosen_SLE},
        {1: chosen_SLE, 2: chosen_SLE},
        domain_id_N=[0],
    )
    return folder


@pytest.fixture
def runnable(traces: Path, model: Path, tiny_trace: Path) -> Path:
    """A workspace in which text can be run, with a trace to look at meanwhile."""
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    return traces


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must fail, in this process; the one line that it says."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["routescope", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        lines = [line for line in printed.err.splitlines() if not line.startswith("stage ")]
        assert ended.value.code == 2, printed.err
        assert len([line for line in lines if line.startswith("error: ")]) == 1, printed.err
        assert lines[-1].startswith("error: ")
        return lines[-1].removeprefix("error: ")

    return run
