"""The transformer is causal, its cache exact, its sizes those of the configuration."""

from dataclasses import replace

import pytest
import torch

from model.config import ModelConfig, dense_twin
from model.counting import count
from model.layers import rotary_tables, rotate
from model.presets import tiny
from model.transformer import Transformer
from tests.models import small_config, small_router


def small_model(config: ModelConfig | None = None) -> Transformer:
    model = Transformer(config or small_config())
    model.initialize(seed=0)
    return model.eval()


TOKENS_BS = torch.arange(24).view(2, 12) % 32


@torch.inference_mode()
def test_a_later_token_does_not_change_earlier_logits() -> None:
    model = small_model()
    changed_BS = TOKENS_BS.clone()
    changed_BS[:, 8] = 31
    change_S = (model(TOKENS_BS) - model(changed_BS)).abs().amax((0, 2))
    assert change_S[:8].max() < 1e-6  # rounding: another token moves the groups' borders
    assert change_S[8:].min() > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("cuts", [(1, 2, 12), (5, 6, 7, 12)])
@pytest.mark.parametrize("router", ["gshard", "switch", "hash"])
def test_the_cache_remembers_who_is_full(router: str, cuts: tuple[int, ...]) -> None:
    model = small_model(small_router(router, capacity_factor=0.75))
    cache = model.new_cache()
    starts = (0, *cuts[:-1])
    parts = [model(TOKENS_BS[:, a:b], cache=cache) for a, b in zip(starts, cuts, strict=True)]
    torch.testing.assert_close(torch.cat(parts, 1), model(TOKENS_BS), rtol=1e-4, atol=1e-5)
    unlimited = small_model(small_router(router))
    assert not torch.allclose(model(TOKENS_BS), unlimited(TOKENS_BS))


@torch.inference_mode()
@pytest.mark.parametrize("cuts", [(1, 2, 12), (5, 6, 7, 12), (4, 8, 12)])
def test_the_cache_gives_the_logits_of_the_whole(cuts: tuple[int, ...]) -> None:
    model = small_model()
    cache = model.new_cache()
    starts = (0, *cuts[:-1])
    parts = [model(TOKENS_BS[:, a:b], cache=cache) for a, b in zip(starts, cuts, strict=True)]
    torch.testing.assert_close(torch.cat(parts, 1), model(TOKENS_BS), rtol=1e-4, atol=1e-5)


def test_a_context_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="17 tokens do not fit the context of 16"):
        small_model()(torch.zeros(1, 17, dtype=torch.long))


def test_rotary_scores_depend_on_distance_alone() -> None:
    cos_SC, sin_SC = rotary_tables(10, 8, base=10_000.0)
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8)
    queries = rotate(query.expand(1, 1, 10, 8), cos_SC, sin_SC)[0, 0]
    keys = rotate(key.expand(1, 1, 10, 8), cos_SC, sin_SC)[0, 0]
    score_SS = queries @ keys.T
    torch.testing.assert_close(score_SS.diagonal(-2), score_SS[2, 0].expand(8))


def test_the_dense_twin_has_the_activated_parameters() -> None:
    moe, dense = count(tiny()), count(dense_twin(tiny()))
    gates = 7 * 64 * 256  # the twin has no routers
    assert moe.active_parameters == dense.parameters + gates
    assert dense.active_parameters == dense.parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 9}, "top_k \\(9\\) must be between 1 and num_experts \\(8\\)"),
        ({"first_dense_layers": 3}, "first_dense_layers \\(3\\)"),
        ({"expert_dim": 0}, "expert_dim \\(0\\)"),
        ({"expert_groups": 3}, "expert_groups \\(3\\) must divide num_experts \\(8\\)"),
        ({"balancing": "none"}, "balancing \\('none'\\)"),
        ({"router": "dice"}, "router \\('dice'\\) must be one of softmax, sigmoid, gshard"),
        ({"router": "switch"}, "top_k \\(2\\) must be 1 with the switch router"),
        ({"capacity_factor": 0.0}, "capacity_factor \\(0.0\\) must be positive"),
        ({"capacity_factor": -1.0}, "capacity_factor \\(-1.0\\) must be positive"),
        ({"expert_groups": 4, "groups_per_token": 5}, "groups_per_token \\(5\\)"),
        (
            {"top_k": 3, "expert_groups": 4, "groups_per_token": 1},
            "top_k \\(3\\) is more than the 2 experts of 1 groups",
        ),
        (
            {"router": "hash", "top_k": 1, "balancing": "bias"},
            "the hash router has nothing to balance",
        ),
    ],
)
def test_an_impossible_configuration_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(small_config(), **change)
