"""Log-likelihoods of a model that looks at the last token alone."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from model.deepseek_moe import DeepSeekMoE
from model.likelihood import (
    Sequenced,
    choice_log_likelihoods,
    continuation,
    log_likelihoods,
    text_windows,
)
from model.transformer import Transformer
from tests.bigram import bigram_model
from tests.models import small_config
from tests.readable import readable

# the next token after: the start, a, b, c
TABLE = torch.tensor(
    [
        [0.1, 0.5, 0.2, 0.2],
        [0.1, 0.2, 0.5, 0.2],
        [0.1, 0.1, 0.1, 0.7],
        [0.25, 0.25, 0.25, 0.25],
    ]
)


@pytest.fixture(scope="module")
def model() -> DeepSeekMoE:
    return bigram(context_length=4)


def letters(text: str) -> list[int]:
    """a, b, c are 1, 2, 3; a blank is left out."""
    return ["abc".index(letter) + 1 for letter in text if letter != " "]


def bigram(*, context_length: int, ids_of: Callable[[str], list[int]] = letters) -> DeepSeekMoE:
    return readable(bigram_model(TABLE, context_length=context_length), ids_of)


def test_only_the_last_tokens_are_scored(model: DeepSeekMoE) -> None:
    both, last = log_likelihoods(model, [Sequenced([0, 1, 2], 2), Sequenced([0, 1, 2], 1)])
    assert both.nats == pytest.approx(math.log(0.5 * 0.5), abs=1e-4)
    assert last.nats == pytest.approx(math.log(0.5), abs=1e-4)


def test_greedy_says_whether_every_token_was_the_likeliest(model: DeepSeekMoE) -> None:
    found = log_likelihoods(model, [Sequenced([0, 1, 2, 3], 3), Sequenced([0, 1, 3], 2)])
    assert [likelihood.greedy for likelihood in found] == [True, False]


def test_a_batch_is_as_good_as_one_at_a_time() -> None:
    transformer = Transformer(small_config()).eval()
    transformer.initialize(seed=0)
    model = readable(transformer)
    rng = np.random.default_rng(0)
    sequences = [
        Sequenced(rng.integers(32, size=size).tolist(), int(rng.integers(1, size)))
        for size in rng.integers(2, 17, size=40)
    ]
    done: list[tuple[int, int]] = []
    together = log_likelihoods(model, sequences, on_progress=lambda *both: done.append(both))
    alone = [log_likelihoods(model, [sequence])[0] for sequence in sequences]
    assert [x.nats for x in together] == pytest.approx([x.nats for x in alone], rel=1e-4)
    assert [x.greedy for x in together] == [x.greedy for x in alone]
    assert done[-1] == (40, 40)


def test_a_continuation_is_what_the_context_does_not_have() -> None:
    model = bigram(context_length=8)
    assert continuation(model, "ab", "c") == Sequenced([0, 1, 2, 3], 1)
    assert continuation(model, "", "ab") == Sequenced([0, 1, 2], 2)


def test_a_token_across_the_border_belongs_to_the_continuation() -> None:
    def pairs(text: str) -> list[int]:
        """ab is one token, 4."""
        return letters(text.replace("ab", "")) if "ab" not in text else [4]

    model = bigram(context_length=8, ids_of=pairs)
    assert continuation(model, "a", "b") == Sequenced([0, 4], 1)


def test_a_blank_at_the_end_of_the_context_belongs_to_every_continuation() -> None:
    def with_blanks(text: str) -> list[int]:
        return [" abc".index(letter) + 1 for letter in text]

    model = bigram(context_length=8, ids_of=with_blanks)
    assert continuation(model, "a ", "b") == Sequenced([0, 2, 1, 3], 2)


def test_a_long_context_is_cut_on_the_left_and_counted(model: DeepSeekMoE) -> None:
    found = continuation(model, "abcabc", "a")
    assert found == Sequenced([3, 1, 2, 3, 1], 1, cut=3)  # the start, a and b are gone


@pytest.mark.parametrize(("text", "line"), [("", "empty continuation"), ("abcab", "5 tokens")])
def test_what_cannot_be_scored_is_refused(text: str, line: str, model: DeepSeekMoE) -> None:
    with pytest.raises(ValueError, match=line):
        continuation(model, "a", text)


def test_a_choice_longer_than_the_context_is_named_by_its_line(model: DeepSeekMoE) -> None:
    questions = [("a", ["b", "c"]), ("a", ["b", "c" * 1_000])]
    with pytest.raises(ValueError, match=r"t\.jsonl:2: a continuation of .* shorten it: 'ccc"):
        choice_log_likelihoods(model, questions, places=["t.jsonl:1", "t.jsonl:2"])


def test_choices_come_back_by_question_and_cut_prompts_are_counted(model: DeepSeekMoE) -> None:
    questions = [("a", ["b", "c", "cc"]), ("abcabc", ["a", "c"])]
    found = choice_log_likelihoods(model, questions, places=["t:1", "t:2"])
    expected = [[0.5, 0.2, 0.2 * 0.25], [0.25, 0.25]]
    for nats_C, probabilities in zip(found.nats_QC, expected, strict=True):
        assert np.exp(nats_C) == pytest.approx(probabilities, abs=1e-4)
    assert found.cut_prompts == 1


def test_windows_score_every_token_of_a_text_once() -> None:
    model = bigram(context_length=3)
    assert text_windows(model, [1, 2, 3, 4, 5]) == [
        Sequenced([0, 1, 2, 3], 3),
        Sequenced([3, 4, 5], 2),
    ]
    assert text_windows(model, [1, 2, 3]) == [Sequenced([0, 1, 2, 3], 3)]
