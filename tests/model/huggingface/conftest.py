"""Tiny models of transformers, as folders and loaded."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from model.huggingface.loading import load_huggingface
from model.huggingface.model import HuggingFaceModel

Loaded = Callable[[str], HuggingFaceModel]


@pytest.fixture(scope="session")
def loaded(folder_of: Callable[[str], Path]) -> Loaded:
    return cache(lambda name: load_huggingface(folder_of(name)))
