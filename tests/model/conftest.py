"""Fixtures of the tests of model."""

import math

import pytest
import torch
from torch import nn

from model.transformer import Transformer
from tests.models import small_config


@pytest.fixture(autouse=True)
def _order_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr("model.capture.HAND_OVER_SECONDS", math.inf)


@pytest.fixture
def model() -> Transformer:
    built = Transformer(small_config())
    built.initialize(seed=1)
    for layer in built.moe_layers():  # decided gates: no near ties
        weight_ED = layer.gate.get_parameter("weight_ED")
        nn.init.normal_(weight_ED, std=1.0, generator=torch.manual_seed(2))
    return built.eval()
