"""How likely a model finds given text after given text.

B = sequences, S = positions, T = scored tokens, V = vocabulary, Q = questions, C = choices.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.encoded import batches, encode_text, require_scores
from model.readable import ReadableModel


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
    model: ReadableModel,
    sequences: Sequence[Sequenced],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Likelihood]:
    """In the order given; progress is sequences done and in all."""
    require_scores(model)
    nats = np.zeros(len(sequences))
    greedy = np.ones(len(sequences), bool)
    done = 0
    for batch in batches(sequences, tokens=model.batch_tokens):
        chosen = [sequences[index] for index in batch]
        inputs_BS, place_T, row_T, target_T = scored_rows(chosen, padding=model.start_token_id)
        logits = model.logits_at(inputs_BS.to(model.device), row_T.to(model.device))
        nats_T, greedy_T = token_log_likelihoods(logits, target_T.to(model.device))
        nats[batch] = np.bincount(place_T, nats_T, minlength=len(batch))
        greedy[np.array(batch)[place_T[~greedy_T]]] = False
        done += len(batch)
        on_progress(done, len(sequences))
    if np.isnan(nats).any():
        raise ValueError(
            f"the log-likelihoods of {np.isnan(nats).sum():,} of {len(nats):,} texts are NaN: the "
            "weights are damaged, or their training diverged; use another checkpoint"
        )
    return [Likelihood(*both) for both in zip(nats.tolist(), greedy.tolist(), strict=True)]


def scored_rows(
    chosen: Sequence[Sequenced], *, padding: int
) -> tuple[Tensor, np.ndarray, Tensor, Tensor]:
    """(inputs_BS padded on the right, whose sequence, row among B * S, and id of each scored token)

    Causal attention keeps the padding harmless.
    """
    width = max(len(item.token_ids) for item in chosen) - 1
    inputs_BS = np.full((len(chosen), width), padding, np.int64)
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
    logits: Iterable[Tensor], target_T: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """(log-likelihood, whether it is the likeliest) of each token, from logits in parts."""
    nats, greedy = [], []
    done = 0
    for logits_TV in logits:
        some_T = target_T[done : done + len(logits_TV)]
        done += len(logits_TV)
        log_TV = F.log_softmax(logits_TV, dim=-1, dtype=torch.float32)
        nats.append(log_TV.gather(1, some_T[:, None])[:, 0])
        greedy.append(log_TV.argmax(-1) == some_T)
    return torch.cat(nats).double().cpu().numpy(), torch.cat(greedy).cpu().numpy()


def continuation(model: ReadableModel, context: str, text: str) -> Sequenced:
    """`text` after the start token and `context`, tokenized as a whole.

    Scored are the tokens that the context without its last blanks does not have, whatever the text
    begins with: so choices compare. A long context is cut on the left.
    """
    if not text:
        raise ValueError("an empty continuation has no likelihood")
    before = encode_text(model, context.rstrip())
    whole = encode_text(model, context + text)
    shared = 0
    for one, other in zip(before, whole, strict=False):
        if one != other:
            break
        shared += 1
    shared = min(shared, len(whole) - 1)
    scored = len(whole) - shared
    if scored > model.context_length:
        raise ValueError(
            f"a continuation of {scored} tokens does not fit the context of "
            f"{model.context_length}, shorten it: {text[:40]!r}"
        )
    token_ids = [model.start_token_id, *whole]
    cut = max(0, len(token_ids) - model.context_length - 1)
    return Sequenced(token_ids[cut:], scored, cut)


def choice_log_likelihoods(
    model: ReadableModel,
    questions: Sequence[tuple[str, Sequence[str]]],
    *,
    places: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ChoiceLikelihoods:
    """Of every choice of (prompt, choices); places are where each was read, for errors; progress is
    choices done and in all."""
    sequences = []
    for (prompt, choices), where in zip(questions, places, strict=True):
        try:
            sequences.append([continuation(model, prompt, choice) for choice in choices])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    flat = [item for of_question in sequences for item in of_question]
    likelihoods = log_likelihoods(model, flat, on_progress=on_progress)
    nats = np.array([likelihood.nats for likelihood in likelihoods])
    ends = np.cumsum([len(of_question) for of_question in sequences])[:-1]
    cut = sum(any(item.cut for item in of_question) for of_question in sequences)
    return ChoiceLikelihoods(np.split(nats, ends), cut)


def text_windows(model: ReadableModel, token_ids: Sequence[int]) -> list[Sequenced]:
    """Consecutive parts of a text that score each of its tokens once; inputs do not overlap."""
    started = [model.start_token_id, *token_ids]
    length = model.context_length
    parts = [started[begin : begin + length + 1] for begin in range(0, len(token_ids), length)]
    return [Sequenced(part, len(part) - 1) for part in parts]
