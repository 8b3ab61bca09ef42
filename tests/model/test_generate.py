"""Sampling cuts and repeats as asked."""

import pytest
import torch

from model.generate import generate, next_token_distribution
from model.transformer import Transformer
from tests.models import small_config
from tests.readable import readable

LOGITS_V = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    kept_V = next_token_distribution(LOGITS_V, temperature=1.0, top_p=0.6)
    assert kept_V.tolist() == pytest.approx([0, 4 / 7, 0, 3 / 7])


def test_temperature_zero_takes_the_likeliest() -> None:
    assert next_token_distribution(LOGITS_V, temperature=0.0, top_p=1.0).tolist() == [0, 1, 0, 0]
    assert next_token_distribution(LOGITS_V, temperature=1.0, top_p=1e-320).tolist() == [0, 1, 0, 0]


def test_a_low_temperature_sharpens() -> None:
    # squared shares 1, 16, 4, 9 of 30
    sharp_V = next_token_distribution(LOGITS_V, temperature=0.5, top_p=1.0)
    assert sharp_V.tolist() == pytest.approx([1 / 30, 16 / 30, 4 / 30, 9 / 30])


def sampled(seed: int, **changes: float) -> list[int]:
    model = Transformer(small_config())
    model.initialize(seed=0)
    settings = {"temperature": 1.0, "top_p": 1.0, **changes}
    steps = generate(readable(model.eval()), [1, 2, 3], max_new_tokens=50, seed=seed, **settings)
    return [step.token_id for step in steps]


def test_a_seed_repeats_and_another_differs() -> None:
    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_generation_ends_where_the_context_does() -> None:
    assert len(sampled(0)) == 16 - 3


@pytest.mark.parametrize("changes", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_sampling_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        sampled(0, **changes)
