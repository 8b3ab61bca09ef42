"""The presets are the models of the paper (arXiv 2401.06066; figures as published there)."""

import pytest

from model.counting import count
from model.presets import PRESETS

WITHIN = 0.03


@pytest.mark.parametrize(
    ("preset", "total", "tera_flops", "tokens"),
    [
        ("2b-dense-x1", 0.2e9, 2.9, 2048),
        ("2b-hash-x1", 2.0e9, 2.9, 2048),
        ("2b-switch-x1", 2.0e9, 2.9, 2048),
        ("2b-gshard", 2.0e9, 4.3, 2048),
        ("2b-deepseekmoe", 2.0e9, 4.3, 2048),
        ("2b-gshard-x1.5", 2.9e9, 5.8, 2048),
        ("16b", 16.4e9, 74.4, 4096),
        ("deepseek-7b", 6.9e9, 183.5, 4096),
        ("llama2-7b", 6.7e9, 187.9, 4096),
        ("145b", 144.6e9, 585.6, 4096),
        ("gshard-137b", 137e9, 572.7, 4096),
        ("142b-half-activated", 142e9, 374.6, 4096),
    ],
)
def test_totals_and_compute_are_the_published_ones(
    preset: str, total: float, tera_flops: float, tokens: int
) -> None:
    found = count(PRESETS[preset]())
    assert found.parameters == pytest.approx(total, rel=WITHIN)
    assert found.sequence_length == tokens
    assert found.training_flops_per_token * tokens == pytest.approx(tera_flops * 1e12, rel=WITHIN)


def test_activated_parameters_are_the_published_ones() -> None:
    assert count(PRESETS["16b"]()).active_parameters == pytest.approx(2.8e9, rel=WITHIN)
    assert count(PRESETS["145b"]()).active_parameters == pytest.approx(22.2e9, rel=WITHIN)
    # 2B: the paper prints 0.3 B, one digit; its expert parameters have three
    small = count(PRESETS["2b-deepseekmoe"]())
    assert round(small.active_parameters / 1e9, 1) == 0.3
    assert small.expert_parameters == pytest.approx(1.89e9, rel=WITHIN)
    assert small.active_expert_parameters == pytest.approx(0.24e9, rel=WITHIN)


def test_the_dense_bound_has_16_times_the_ffn() -> None:
    bound = count(PRESETS["2b-dense-x16"]())
    assert bound.parameters - count(PRESETS["2b-dense-x1"]()).parameters == pytest.approx(
        15 / 16 * 1.89e9, rel=WITHIN
    )
    assert bound.training_flops_per_token * 2048 == pytest.approx(24.6e12, rel=WITHIN)


@pytest.mark.parametrize(
    ("preset", "against", "share"),
    [
        ("16b", "deepseek-7b", 0.405),
        ("16b", "llama2-7b", 0.396),
        ("145b", "deepseek-67b", 0.285),
        ("142b-half-activated", "deepseek-67b", 0.182),
    ],
)
def test_ratios_of_compute_are_the_published_ones(preset: str, against: str, share: float) -> None:
    found, other = (count(PRESETS[name]()) for name in (preset, against))
    ratio = found.training_flops_per_token / other.training_flops_per_token
    assert ratio == pytest.approx(share, rel=WITHIN)


def test_deepseek_67b_takes_the_published_compute() -> None:
    """Its attention counted as multi-head, so its parameters are more than 67 B."""
    found = count(PRESETS["deepseek-67b"]())
    assert found.training_flops_per_token * 4096 == pytest.approx(2057.5e12, rel=WITHIN)
