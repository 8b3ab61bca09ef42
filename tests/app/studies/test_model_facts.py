"""What is told of a model before it is loaded is what the loaded one is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.studies.model_facts import (
    FAMILIES,
    SCORING_OF,
    Facts,
    Machine,
    loaded,
    own_facts,
    transformers_facts,
)
from app.studies.reader import load_tracer
from model.checkpoint import save_model
from model.compress import with_int8_experts
from model.config import FIXED_TOP_K, ROUTERS
from model.transformer import Transformer
from tests.models import small_config
from tests.tokenizers import byte_tokenizer


def write(folder: Path, router: str, *, int8: bool = False) -> Path:
    changes: dict[str, Any] = {"vocab_size": 257, "router": router}
    if router in FIXED_TOP_K:
        changes["top_k"] = FIXED_TOP_K[router]
    if router == "dsr":
        changes |= {"min_k": 1, "top_p": 0.5}
    config = replace(small_config(), **changes)
    model = Transformer(config)
    model.initialize(seed=0)
    save_model(with_int8_experts(model) if int8 else model, folder, dtype=torch.float32)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("router", ROUTERS)
def test_a_model_of_ours_is_what_its_config_says(router: str, tmp_path: Path) -> None:
    folder = write(tmp_path, router)
    assert own_facts(folder, Machine()) == loaded(load_tracer(folder)).facts
    assert router in FAMILIES


def test_int8_experts_take_what_they_are_loaded_as(tmp_path: Path) -> None:
    whole, small = (write(tmp_path / name, "softmax", int8=name == "b") for name in "ab")
    assert own_facts(small, Machine()).parameters == own_facts(whole, Machine()).parameters
    assert own_facts(small, Machine()).needed_bytes == own_facts(whole, Machine()).needed_bytes


def test_on_a_gpu_models_take_half() -> None:
    facts = own_like(Machine())
    assert facts.needed_bytes == 2 * replace(facts, machine=Machine("cuda", 10**9)).needed_bytes


def own_like(machine: Machine) -> Facts:
    return Facts(
        family="x",
        parameters=1_000,
        layers=1,
        num_experts=4,
        top_k=2,
        num_shared_experts=0,
        scoring=SCORING_OF["sigmoid"],
        context=8,
        machine=machine,
        transformers=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepseek_v3", "mixtral", "switch_transformers"])
def test_one_of_transformers_is_what_its_first_gate_does(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of(name)
    assert transformers_facts(folder) == loaded(load_tracer(folder)).facts


@pytest.mark.slow
def test_what_only_a_forward_tells_is_not_guessed(folder_of: Callable[[str], Path]) -> None:
    folder = folder_of("gemma4")
    facts = transformers_facts(folder)
    assert facts.scoring is None
    assert facts.num_experts == loaded(load_tracer(folder)).facts.num_experts
