"""Where things lie: what RouteScope ships, and the folders that people fill."""

import os
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[1]  # the repository, or the installed package


def home() -> Path:
    """The repository for those who work in it, the current folder for everybody else."""
    return SHIPPED if (SHIPPED / "pyproject.toml").is_file() else Path.cwd()


def traces() -> Path:
    return Path(os.environ.get("ROUTESCOPE_TRACES", home() / "traces"))


def runs() -> Path:
    """Where people keep their own trainings, one a folder or one a folder's folder."""
    return Path(os.environ.get("ROUTESCOPE_RUNS", home() / "runs"))


def models() -> Path:
    """Where people keep models to choose from, one a folder or one a folder's folder."""
    return Path(os.environ.get("ROUTESCOPE_MODELS", home() / "models"))


def demo() -> Path:
    """The trace that the dashboard makes by itself."""
    return traces() / "demo.duckdb"
