"""A text while it is continued: its last tokens, with where they went.

T = tokens, L = MoE layers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from data.routing import NO_EXPERT

if TYPE_CHECKING:
    from model.capture_generation import Steps
    from model.decisions import Decisions

SHOWN = 200  # tokens of a prompt, the last ones
EVERY = 0.2  # seconds between two looks: a page looks twice a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    text: int  # counted from 1
    left_out: int  # tokens that precede those here
    prompt_tokens: int  # of those here
    tokens: list[str]  # what each adds to the text
    special: list[str | None]
    strongest_TL: np.ndarray  # int16; NO_EXPERT: none, or not yet, as of the newest token

    @property
    def new_tokens(self) -> int:
        return len(self.tokens) - self.prompt_tokens


def live_text(steps: "Steps") -> Live:
    prompt, model = steps.prompt, steps.model
    from model.pieces import continuation_pieces

    left_out = max(len(prompt.token_ids) - SHOWN, 0)
    strongest_TL = _strongest(steps.decisions)[len(model.unrecorded) + left_out :]
    newest_1L = np.full_like(strongest_TL[:1], NO_EXPERT)
    return Live(
        text=prompt.document.doc_id + 1,
        left_out=left_out,
        prompt_tokens=len(prompt.token_ids) - left_out,
        tokens=[
            *prompt.pieces[left_out:],
            *continuation_pieces(steps.continuation, model.decode, before=prompt.token_ids),
        ],
        special=[*prompt.special[left_out:], *map(model.special_name, steps.continuation)],
        strongest_TL=np.concatenate([strongest_TL, newest_1L]),
    )


def _strongest(decisions: "list[Decisions]") -> np.ndarray:
    return np.concatenate([one.expert_ids_TLK[:, :, 0] for one in decisions])


@dataclass(slots=True)
class Telling:
    """Tells of a step, where the last one was told of long enough ago."""

    tell: Callable[[Live], None]
    _next: float = field(default=0.0)

    def __call__(self, steps: "Steps") -> None:
        if monotonic() >= self._next:
            self.tell(live_text(steps))
            self._next = monotonic() + EVERY
