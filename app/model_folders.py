"""Which models there are to choose from, by the names that pages and links give them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import folders, workspace
from data.training_folder import TrainingFolder


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What may hold a model; whether it does is looked at later."""

    name: str
    path: Path


def models() -> list[ModelFolder]:
    """The default first, then those of `models/`, of finished trainings, and from the hub. Of one
    folder under several names the first."""
    shipped = workspace.checkpoint() == workspace.SHIPPED_MODEL
    default = ModelFolder("shipped" if shipped else "model", workspace.checkpoint())
    listed: dict[Path, ModelFolder] = {}
    for model in [default, *_in_models(), *_trained(), *_downloaded()]:
        listed.setdefault(model.path.resolve(), model)
    return list(listed.values())


@st.cache_resource(show_spinner=False)
def downloaded() -> dict[str, Path]:
    """What this server had downloaded, by name on the hub: pages of all browsers list it."""
    return {}


def _in_models() -> Iterator[ModelFolder]:
    """Every folder, or the folders in it where it has no config but one of them has."""
    root = folders.models()
    for path in _folders(root):
        inner = [] if _has_config(path) else [one for one in _folders(path) if _has_config(one)]
        for model in inner or [path]:
            yield ModelFolder(f"models/{_text(model.relative_to(root))}", model)


def _trained() -> Iterator[ModelFolder]:
    root = folders.runs()
    for path in sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern)):
        finished = TrainingFolder(path).model_config.is_file()
        if finished and any(path.glob("model*.safetensors")):
            yield ModelFolder(f"runs/{_text(path.relative_to(root))}", path)


def _downloaded() -> Iterator[ModelFolder]:
    for name, path in downloaded().items():
        yield ModelFolder(f"hub/{name}", path)


def _folders(root: Path) -> list[Path]:
    """Links to nothing too: they were meant to be one."""
    try:
        paths = sorted(root.iterdir())
    except OSError:
        return []
    return [
        path
        for path in paths
        if not path.name.startswith(".") and (path.is_dir() or not path.exists())
    ]


def _has_config(path: Path) -> bool:
    return os.path.isfile(path / "config.json")  # False where it cannot be read


def _text(path: Path) -> str:
    """Of a name that is not UTF-8, too."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
