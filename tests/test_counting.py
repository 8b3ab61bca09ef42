"""The presets are the models of the paper (arXiv 2401.06066; figures as published there)."""

import pytest

from model.config import PRESETS
from model.counting import count

WITHIN = 0.03


@pytest.mark.parametrize(
    ("preset", "total", "tera_flops", "tokens"),
    [("2b", 2.0e9, 4.3, 2048), ("16b", 16.4e9, 74.4, 4096), ("145b", 144.6e9, 585.6, 4096)],
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
    small = count(PRESETS["2b"]())
    assert round(small.active_parameters / 1e9, 1) == 0.3
    assert small.expert_parameters == pytest.approx(1.89e9, rel=WITHIN)
    assert small.active_expert_parameters == pytest.approx(0.24e9, rel=WITHIN)
