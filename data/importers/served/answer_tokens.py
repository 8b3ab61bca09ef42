"""Tokens of a response: their ids, texts and losses, as each engine lists them. T = tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.lines import encodable
from data.routing import NO_TOKEN

Json = dict[str, Any]

EXTENSIONS = ("sglext", "sgl_ext", "meta_info", "message")  # where engines put fields of their own
NO_PROBABILITY = -9_999.0  # how servers write a log-probability of minus infinity


@dataclass(frozen=True, slots=True)
class Tokens:
    """Those of a prompt, or of an answer to it."""

    count: int | None = None
    ids_T: np.ndarray | None = None  # uint32
    texts_T: list[str | None] | None = None
    loss_T: np.ndarray | None = None  # float32


def levels(value: Json) -> list[Json]:
    """The object itself, and those in it where engines put fields of their own."""
    return [value, *(as_object(value[name]) for name in EXTENSIONS if name in value)]


def as_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def first(among: Sequence[Json], *names: str) -> Any:
    return next(
        (level[name] for level in among for name in names if level.get(name) is not None), None
    )


def tokens_of(ids: object, what: str, where: str) -> Tokens:
    if ids is None:
        return Tokens()
    return Tokens(len(array := ids_of(ids, what, where)), array)


def ids_of(ids: object, what: str, where: str) -> np.ndarray:
    if not isinstance(ids, list):
        raise ValueError(f"{where}: {what} are {str(ids)[:40]!r}; a list of numbers is expected")
    odd = set(map(type, ids)) - {int}
    if odd or (ids and not (min(ids) >= 0 and max(ids) < NO_TOKEN)):
        value = next(one for one in ids if type(one) is not int or not 0 <= one < NO_TOKEN)
        raise ValueError(
            f"{where}: {what} hold {str(value)[:40]!r}; whole numbers from 0 to {NO_TOKEN - 1:,} "
            "are expected"
        )
    return np.array(ids, np.uint32)


def with_prompt_losses(prompt: Tokens, among: Sequence[Json], where: str) -> Tokens:
    """SGLang's triples (log-probability, id, text), or vLLM's object for each token."""
    triples = first(among, "input_token_logprobs")
    if triples is not None:
        return _of_triples(prompt, triples, where)
    listed = first(among, "prompt_logprobs")
    if listed is None or prompt.ids_T is None:
        return prompt
    if not isinstance(listed, list) or len(listed) != prompt.count:
        raise ValueError(
            f"{where}: prompt_logprobs are not a list of one entry for each of the "
            f"{prompt.count} tokens of the prompt"
        )
    entries = [
        as_object(as_object(entry).get(str(token)))
        for entry, token in zip(listed, prompt.ids_T.tolist(), strict=True)
    ]
    return replace(
        prompt,
        texts_T=_texts([entry.get("decoded_token") for entry in entries], where),
        loss_T=_losses([entry.get("logprob") for entry in entries], where),
    )


def _of_triples(tokens: Tokens, triples: object, where: str) -> Tokens:
    if not isinstance(triples, list) or not all(
        isinstance(triple, list) and len(triple) == 3 for triple in triples
    ):
        raise ValueError(
            f"{where}: token_logprobs are not a list of [log-probability, token id, text]"
        )
    read = tokens_of([triple[1] for triple in triples], "token ids of log-probabilities", where)
    if tokens.ids_T is not None and tokens.ids_T.tolist() != [triple[1] for triple in triples]:
        raise ValueError(f"{where}: token ids differ from those of the log-probabilities")
    return replace(
        read,
        texts_T=_texts([triple[2] for triple in triples], where),
        loss_T=_losses([triple[0] for triple in triples], where),
    )


def listed_tokens(choice: Json, where: str) -> Tokens:
    """Of the answer, or of prompt and answer where the prompt was echoed."""
    triples = first(levels(choice), "output_token_logprobs")
    if triples is not None:
        return _of_triples(Tokens(), triples, where)
    given = choice.get("logprobs")
    if given is None:
        return Tokens()
    if not isinstance(given, dict):
        raise ValueError(f"{where}: logprobs are {str(given)[:40]!r}; an object is expected")
    texts, numbers = given.get("tokens"), given.get("token_logprobs")
    if isinstance(given.get("content"), list):
        entries = [as_object(entry) for entry in given["content"]]
        texts = [entry.get("token") for entry in entries]
        numbers = [entry.get("logprob") for entry in entries]
    if not isinstance(texts, list) or not isinstance(numbers, list) or len(texts) != len(numbers):
        raise ValueError(f"{where}: logprobs do not list as many tokens as log-probabilities")
    return Tokens(len(texts), None, _texts(texts, where), _losses(numbers, where))


def _texts(values: Sequence[object], where: str) -> list[str | None]:
    texts = [value if isinstance(value, str) else None for value in values]
    if not encodable("".join(text or "" for text in texts)):
        raise ValueError(f"{where}: half a surrogate pair among the tokens, which is no character")
    return texts


def _losses(values: Sequence[object], where: str) -> np.ndarray:
    """NaN where there is none, or no finite one."""
    odd = next((v for v in values if v is not None and type(v) not in (int, float)), None)
    if odd is not None:
        raise ValueError(
            f"{where}: {str(odd)[:40]!r} among log-probabilities; numbers are expected"
        )
    known = [v for v in values if isinstance(v, int | float) and abs(v) < -NO_PROBABILITY]
    if any(v > 0.01 for v in known):
        raise ValueError(f"{where}: log-probability {max(known):g}; 0 is the largest there is")
    return np.array(
        [
            -float(min(v, 0.0))
            if isinstance(v, int | float) and abs(v) < -NO_PROBABILITY
            else math.nan
            for v in values
        ],
        np.float32,
    )


def joined(prompt: Tokens, answer: Tokens, listed: Tokens, where: str) -> tuple[Tokens, Tokens]:
    """With texts and losses of `listed`, which are the answer's, or both together."""
    if listed.count is None:
        return prompt, answer
    if answer.count is None:
        return prompt, listed
    if listed.count == answer.count:
        ids_T = answer.ids_T if answer.ids_T is not None else listed.ids_T
        return prompt, replace(listed, ids_T=ids_T)
    if prompt.count is not None and listed.count == prompt.count + answer.count:
        assert listed.texts_T is not None
        assert listed.loss_T is not None
        cut = prompt.count
        echoed = replace(prompt, texts_T=listed.texts_T[:cut], loss_T=listed.loss_T[:cut])
        return echoed, replace(answer, texts_T=listed.texts_T[cut:], loss_T=listed.loss_T[cut:])
    return prompt, answer  # servers leave tokens out of the text, and of its log-probabilities
