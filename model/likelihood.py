"""How likely a model finds given text after given text.

B = sequences, S = positions, T = scored tokens, D = model dim, Q = questions, C = choices.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.ablation import BATCH_TOKENS
from model.capture import START_TOKEN_ID
from model.encoded import batches
from model.transformer import Transformer

ROWS = {"cpu": 64, "cuda": 4_096}  # of logits in float32 at once


class Sequenced(NamedTuple):
    """Token ids, of which the last `scored` are predicted, each from all before it."""

    token_ids: list[int]
    scored: int
    cut: int = 0  # tokens left out on the left, because the context is shorter


class Likelihood(NamedTuple):
    nats: float  # log-likelihood, at most 0
    greedy: bool  # every scored token was the likeliest


class ChoiceLikelihoods(NamedTuple):
    nats_QC: list[np.ndarray]  # of each choice, question by question
    cut_prompts: int  # questions whose prompt did not fit


@torch.inference_mode()
def log_likelihoods(
    model: Transformer,
    sequences: Sequence[Sequenced],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Likelihood]:
    """In the order given; progress is sequences done and in all."""
    nats = np.zeros(len(sequences))
    greedy = np.ones(len(sequences), bool)
    done = 0
    device = model.embedding.weight.device
    for batch in batches(sequences, tokens=BATCH_TOKENS[device.type]):
        chosen = [sequences[index] for index in batch]
        inputs_BS, place_T, row_T, target_T = scored_rows(chosen)
        hidden_TD = model.hidden(inputs_BS.to(device))[0].flatten(0, 1)[row_T.to(device)]
        nats_T, greedy_T = token_log_likelihoods(model, hidden_TD, target_T.to(device))
        nats[batch] = np.bincount(place_T, nats_T, minlength=len(batch))
        greedy[np.array(batch)[place_T[~greedy_T]]] = False
        done += len(batch)
        on_progress(done, len(sequences))
    return [Likelihood(*both) for both in zip(nats.tolist(), greedy.tolist(), strict=True)]


def scored_rows(chosen: Sequence[Sequenced]) -> tuple[Tensor, np.ndarray, Tensor, Tensor]:
    """(inputs_BS padded on the right, whose sequence, row among B * S, and id of each scored token)

    Causal attention keeps the padding harmless.
    """
    width = max(len(item.token_ids) for item in chosen) - 1
    inputs_BS = np.full((len(chosen), width), START_TOKEN_ID, np.int64)
    for inputs_S, item in zip(inputs_BS, chosen, strict=True):
        inputs_S[: len(item.token_ids) - 1] = item.token_ids[:-1]
    place_T = np.repeat(np.arange(len(chosen)), [item.scored for item in chosen])
    row_T = [
        place * width + position
        for place, item in enumerate(chosen)
        for position in range(len(item.token_ids) - 1 - item.scored, len(item.token_ids) - 1)
    ]
    target_T = [x for item in chosen for x in item.token_ids[len(item.token_ids) - item.scored :]]
    return torch.from_numpy(inputs_BS), place_T, torch.tensor(row_T), torch.tensor(target_T)


def token_log_likelihoods(
    model: Transformer, hidden_TD: Tensor, target_T: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """(log-likelihood, whether it is the likeliest) of each token; in slices, see token_loss."""
    rows = ROWS[hidden_TD.device.type]
    nats, greedy = [], []
    for some_TD, some_T in zip(hidden_TD.split(rows), target_T.split(rows), strict=True):
        log_TV = F.log_softmax(model.head(some_TD), dim=-1, dtype=torch.float32)
        nats.append(log_TV.gather(1, some_T[:, None])[:, 0])
        greedy.append(log_TV.argmax(-1) == some_T)
    return torch.cat(nats).double().cpu().numpy(), torch.cat(greedy).cpu().numpy()


def continuation(
    encode: Callable[[str], list[int]], context: str, text: str, *, context_length: int
) -> Sequenced:
    """`text` after the start token and `context`, tokenized as a whole.

    Scored are the tokens that the context without its last blanks does not have, whatever the text
    begins with: so choices compare. A long context is cut on the left.
    """
    if not text:
        raise ValueError("an empty continuation has no likelihood")
    before, whole = encode(context.rstrip()), encode(context + text)
    shared = 0
    for one, other in zip(before, whole, strict=False):
        if one != other:
            break
        shared += 1
    shared = min(shared, len(whole) - 1)
    scored = len(whole) - shared
    if scored > context_length:
        raise ValueError(
            f"a continuation of {scored} tokens does not fit the context of {context_length}: "
            f"{text[:40]!r}"
        )
    token_ids = [START_TOKEN_ID, *whole]
    cut = max(0, len(token_ids) - context_length - 1)
    return Sequenced(token_ids[cut:], scored, cut)


def choice_log_likelihoods(
    model: Transformer,
    encode: Callable[[str], list[int]],
    questions: Sequence[tuple[str, Sequence[str]]],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ChoiceLikelihoods:
    """Of every choice of (prompt, choices); progress is choices done and in all."""
    length = model.config.context_length
    sequences = [
        [continuation(encode, prompt, choice, context_length=length) for choice in choices]
        for prompt, choices in questions
    ]
    flat = [item for of_question in sequences for item in of_question]
    found = log_likelihoods(model, flat, on_progress=on_progress)
    nats = np.array([likelihood.nats for likelihood in found])
    ends = np.cumsum([len(of_question) for of_question in sequences])[:-1]
    cut = sum(any(item.cut for item in of_question) for of_question in sequences)
    return ChoiceLikelihoods(np.split(nats, ends), cut)


def text_windows(token_ids: Sequence[int], *, context_length: int) -> list[Sequenced]:
    """Consecutive parts of a text that score each of its tokens once; inputs do not overlap."""
    started = [START_TOKEN_ID, *token_ids]
    parts = [
        started[begin : begin + context_length + 1]
        for begin in range(0, len(token_ids), context_length)
    ]
    return [Sequenced(part, len(part) - 1) for part in parts]
