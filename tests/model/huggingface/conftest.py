"""Tiny models of transformers, as folders and loaded."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from model.huggingface.loading import load_huggingface
from model.huggingface.model import HuggingFaceModel
from tests.model.huggingface.folders import save

Loaded = Callable[[str], HuggingFaceModel]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model, not to be changed."""
    root = tmp_path_factory.mktemp("models")
    return cache(lambda name: save(root / name, name))


@pytest.fixture(scope="session")
def loaded(folder_of: Callable[[str], Path]) -> Loaded:
    return cache(lambda name: load_huggingface(folder_of(name)))
