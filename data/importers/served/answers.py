"""Responses of inference servers: what they say of each answer, beside its routing.

T = tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from data.importers.served.answer_tokens import (
    Json,
    Tokens,
    as_object,
    first,
    joined,
    levels,
    listed_tokens,
    tokens_of,
    with_prompt_losses,
)
from data.lines import encodable

WRAPPERS = ("response", "body", "completion", "output", "result")  # of a response, in logs of them
DEEPEST = 4
PROMPT_IDS = ("prompt_token_ids", "prompt_ids", "input_ids")
ANSWER_IDS = (
    "token_ids",
    "response_token_ids",
    "generation_token_ids",
    "output_ids",
    "completion_ids",
)
STARTS = ("routed_experts_start_len", "routed_experts_prompt_start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One choice of a response."""

    name: str  # of the request or response; empty where it has none
    engine: str  # by its fields
    model: str
    routed: object  # as it stands there; None where it is missing
    routed_prompt: object  # where prompt and answer stand apart
    start: int  # tokens of the prompt before the first row
    cached: int  # tokens of the prompt that were not computed
    prompt: Tokens
    answer: Tokens
    text: str  # prompt, where it is known, and answer

    @property
    def tokens(self) -> int | None:
        """Of both; None where one is not known."""
        if self.prompt.count is None or self.answer.count is None:
            return None
        return self.prompt.count + self.answer.count


def answers(value: object, where: str) -> Iterator[Answer]:
    """Of whatever a line holds: a response, several, or what wraps one. ValueError: it holds none,
    or one that is not as an engine writes it."""
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise ValueError(f"{where}: {type(one).__name__} where a response, an object, belongs")
        response = _response(one)
        if response is None:
            failed = one.get("error")
            said = f"an error, {str(failed)[:120]!r}" if failed else f"fields {_fields(one)}"
            raise ValueError(
                f"{where}: no response of an engine but {said}; choices, meta_info or "
                "routed_experts are expected"
            )
        yield from _of_response(response, one, where)


def _response(value: Json, depth: int = 0) -> Json | None:
    if any(name in value for name in ("choices", "meta_info", "routed_experts")):
        return value
    for name in WRAPPERS:
        inner = value.get(name)
        if isinstance(inner, dict) and depth < DEEPEST:
            found = _response(inner, depth + 1)
            if found is not None:
                return found
    return None


def _of_response(response: Json, around: Json, where: str) -> Iterator[Answer]:
    choices = response.get("choices")
    if choices is None:
        yield _answer(response, {}, around, where, place=0, alone=True)
        return
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError(
            f"{where}: choices are not a list of objects, which they are expected to be"
        )
    for place, choice in enumerate(choices):
        here = where if len(choices) == 1 else f"{where} choice {place}"
        yield _answer(choice, response, around, here, place=place, alone=len(choices) == 1)


def _answer(
    choice: Json, response: Json, around: Json, where: str, *, place: int, alone: bool
) -> Answer:
    """`response`: what all choices share; its routed experts are those of the first."""
    own, shared = levels(choice), levels(response)
    usage = as_object(response.get("usage"))
    prompt, answer = _token_ids(own, shared, where, place=place)
    prompt = with_prompt_losses(prompt, [*own, *shared], where)
    if not response and "meta_info" not in choice and prompt.count is None:
        prompt, answer = answer, Tokens(0 if answer.count is not None else None)  # ids of both
    both = listed_tokens(choice, where)
    if prompt.count is None:
        prompt = replace(prompt, count=_count([*own, usage], "prompt_tokens", where))
    if answer.count is None:
        counted = [*own, usage] if alone else own
        answer = replace(answer, count=_count(counted, "completion_tokens", where))
    echoed = None not in (both.count, answer.count) and both.count != answer.count
    prompt, answer = joined(prompt, answer, both, where)
    routed = first(own, "routed_experts")
    if routed is None and place == 0:
        routed = first(shared, "routed_experts")
    request = as_object(around.get("request"))
    details = as_object(usage.get("prompt_tokens_details"))
    cached = _count([*own, details], "cached_tokens", where) or 0
    return Answer(
        name=_name(around, response, choice, where),
        engine=_engine(choice, response, routed),
        model=_plain_text(response.get("model"), "model", where),
        routed=routed,
        routed_prompt=first([*own, *shared], "prompt_routed_experts"),
        start=_start([*own, *shared, request], routed, where),
        cached=cached,
        prompt=prompt,
        answer=answer,
        text=_text(choice, request, prompt, where, echoed=echoed),
    )


def _engine(choice: Json, response: Json, routed: object) -> str:
    fields = {*choice, *response}
    if fields & {"sglext", "sgl_ext", "meta_info"}:
        return "sglang"
    if isinstance(routed, str):
        return "nemo-gym" if routed.startswith("nrlre1:") else "vllm"
    return "prime-rl" if isinstance(routed, dict) else "vllm"


def _name(around: Json, response: Json, choice: Json, where: str) -> str:
    name = first([around, response, *levels(choice)], "custom_id", "id", "request_id")
    return _plain_text(str(name) if type(name) is int else name, "id", where)[:200]


def _plain_text(value: object, what: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not encodable(value) or "\0" in value:
        raise ValueError(f"{where}: {what} is {str(value)[:40]!r}; a text is expected")
    return value


def _count(among: Sequence[Json], name: str, where: str) -> int | None:
    value = first(among, name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"{where}: {name} is {str(value)[:40]!r}; a number of tokens is expected")
    return value


def _start(among: Sequence[Json], routed: object, where: str) -> int:
    for name in STARTS:
        found = _count(among, name, where)
        if found is not None:
            return found
    return _count([as_object(routed)], "start", where) or 0


def _token_ids(
    own: list[Json], shared: list[Json], where: str, *, place: int
) -> tuple[Tokens, Tokens]:
    """Prompt's and answer's; those of all answers stand in one list of the response in SGLang."""
    several = first(shared, "output_ids")
    listed = isinstance(several, list) and place < len(several)
    of_answer = first(own, *ANSWER_IDS) or (several[place] if listed else None)
    return (
        tokens_of(first([*own, *shared], *PROMPT_IDS), "token ids of the prompt", where),
        tokens_of(of_answer, "token ids of the answer", where),
    )


def _text(choice: Json, request: Json, prompt: Tokens, where: str, *, echoed: bool) -> str:
    message = as_object(choice.get("message"))
    parts = [choice.get("text"), message.get("reasoning_content"), message.get("content")]
    text = "".join(part for part in parts if isinstance(part, str))
    asked = request.get("prompt")
    if isinstance(asked, str):
        before = asked
    else:
        texts = prompt.texts_T or []
        before = "".join(part for part in texts if part) if None not in texts[1:] else ""
    if not (echoed and text.startswith(before)):
        text = before + text
    if not encodable(text):
        raise ValueError(f"{where}: half a surrogate pair in the text, which is no character")
    return text


def _fields(value: Json) -> str:
    return ", ".join(str(name)[:40] for name in list(value)[:5]) or "none"
