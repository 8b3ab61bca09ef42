"""A model that always writes the next letter."""

from collections.abc import Sequence

import pytest
import torch

from model.completion import Completion, complete
from model.deepseek_moe import DeepSeekMoE
from tests.bigram import bigram_model
from tests.readable import readable


@pytest.fixture(scope="module")
def model() -> DeepSeekMoE:
    """After each letter the next, after d the start token."""
    table = torch.full((5, 5), 0.01)
    table[torch.arange(5), (torch.arange(5) + 1) % 5] = 0.96
    return readable(bigram_model(table, context_length=6))


def written(
    model: DeepSeekMoE,
    prompt: str,
    *,
    stops: Sequence[str] = (),
    max_new_tokens: int = 4,
    temperature: float = 0.0,
    seed: int = 0,
) -> Completion:
    return complete(
        model,
        prompt,
        stops=stops,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )


def test_the_end_of_the_text_ends_it(model: DeepSeekMoE) -> None:
    assert written(model, "a") == Completion("bcd", 0)


def test_a_stop_sequence_is_left_out_even_across_tokens(model: DeepSeekMoE) -> None:
    assert written(model, "a", stops=["cd", "x"]) == Completion("b", 0)


def test_no_more_than_asked_for(model: DeepSeekMoE) -> None:
    assert written(model, "a", max_new_tokens=1) == Completion("b", 0)


def test_a_long_prompt_loses_its_left(model: DeepSeekMoE) -> None:
    assert written(model, "dddda", max_new_tokens=2) == Completion("bc", 2)  # 6 - 1 - 2 remain


@pytest.mark.parametrize("tokens", [0, 5])
def test_what_leaves_no_room_for_a_prompt_is_refused(model: DeepSeekMoE, tokens: int) -> None:
    with pytest.raises(ValueError, match="ask for 1 to 4"):
        written(model, "a", max_new_tokens=tokens)


def test_a_seed_repeats_a_sample(model: DeepSeekMoE) -> None:
    same = [written(model, "a", temperature=3.0, seed=4) for _ in range(2)]
    assert same[0] == same[1]
