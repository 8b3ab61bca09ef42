"""Which models there are to choose from, by the names that pages and links give them."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis.queries import TraceInfo
from app import folders, workspace
from data.strict_json import read_object
from data.training_folder import TrainingFolder

LARGEST_CONFIG = 2**22  # bytes
FEWEST = 5  # fields that a config and a trace have in common, where one is of the other
OF_A_FILE = {"dtype", "torch_dtype", "transformers_version"}  # and not of its model


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


def model_of(info: TraceInfo) -> Path:
    """The folder whose config the trace was made with, as far as it tells: the default, if it is
    one. Whether it holds the same weights is for a job to see, since they may be many."""
    return next(models_of(info), workspace.checkpoint())


def models_of(info: TraceInfo) -> Iterator[Path]:
    """All folders with that config: seeds of one training differ in nothing but weights."""
    described = info.config.get("model")
    known = described if isinstance(described, dict) else {}
    return (model.path for model in models() if _is_config_of(model.path, known))


def _is_config_of(folder: Path, known: Mapping[str, object]) -> bool:
    if not _has_config(folder) or (folder / "config.json").stat().st_size > LARGEST_CONFIG:
        return False
    try:
        given = read_object(folder / "config.json", remedy="copy the model again")
    except (OSError, ValueError):
        return False
    said = {name: x for name, x in given.items() if isinstance(x, int | float | str)}
    common = (said.keys() & known.keys()) - OF_A_FILE
    return len(common) >= FEWEST and all(said[name] == known[name] for name in common)


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
