"""What PEFT would match: re.fullmatch with the names of all modules."""

import re

import numpy as np
import pytest
from torch import nn

from data.exports.peft import target_modules
from tests.routing_batches import layer


def expert(_: int) -> nn.Module:
    return nn.ModuleDict({"up_proj": nn.Linear(2, 2), "w2": nn.Linear(2, 2), "act_fn": nn.SiLU()})


def test_the_weights_of_the_experts_listed_are_matched_and_nothing_else() -> None:
    layers = [
        nn.ModuleDict({"gate": nn.Linear(2, 12), "experts": nn.ModuleList(map(expert, range(12)))})
        for _ in range(2)
    ]
    model = nn.ModuleDict({"layers": nn.ModuleList(layers), "head": nn.Linear(2, 2)})
    listed_LE = np.zeros((2, 12), bool)
    listed_LE[0, [1, 11]] = listed_LE[1, 2] = True
    pattern = target_modules([layer("layers.0", 12), layer("layers.1", 12)], listed_LE)
    matched = [name for name, _ in model.named_modules() if re.fullmatch(pattern, name)]
    assert matched == [
        f"layers.{place}.{module}"
        for place, expert_id in ((0, 1), (0, 11), (1, 2))
        for module in (f"experts.{expert_id}.up_proj", f"experts.{expert_id}.w2")
    ]
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in matched)


def test_a_layer_that_is_no_module_is_refused() -> None:
    with pytest.raises(ValueError, match="'layer 3' is no name of a module"):
        target_modules([layer("layer 3", 2)], np.ones((1, 2), bool))


def test_an_empty_list_names_nothing() -> None:
    with pytest.raises(ValueError, match="no expert is listed"):
        target_modules([layer("layers.0", 2)], np.zeros((1, 2), bool))
