"""Commands as the work of a job: what they print moves the bar."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.jobs import commands
from app.jobs.worker import Progress
from app.sidecars import INFORMATION
from data.routing import CancelledError
from data.sidecar import sidecar_path


def test_a_command_reports_its_stages(tiny_trace: Path, tmp_path: Path) -> None:
    trace = Path(shutil.copy(tiny_trace, tmp_path / "tiny.duckdb"))
    told: list[dict[str, Any]] = []
    commands.information(Progress(tmp_path, told.append), trace)
    assert any(one.get("note", "").startswith("stage 4/4: ") for one in told)
    assert {"done": 3, "total": 4, "unit": "stages"} in told
    assert sidecar_path(trace, INFORMATION).is_file()


def test_a_command_stops_at_the_next_line(tiny_trace: Path, tmp_path: Path) -> None:
    trace = Path(shutil.copy(tiny_trace, tmp_path / "tiny.duckdb"))
    progress = Progress(tmp_path)
    progress.stop.set()
    with pytest.raises(CancelledError):
        commands.project(progress, trace)
