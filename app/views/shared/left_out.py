"""What a link asks for and is not here: all of it in one note under the question of the page.

Parts of the selection, and controls that a page reads from its address itself, are named with
`say`. A control that is bound to the address drops what it cannot show without a word: that is
found when the page has run, by what its address asked for when it was opened. A parameter that no
control of the page is bound to is no business of the page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import streamlit as st

from app.views.shared import controls
from app.views.shared.selection import Link

KEY = "left_out"  # of the session
LONGEST = 60  # characters of a value


@dataclass(slots=True)
class _LeftOut:
    asked: Link = field(default_factory=dict)  # of controls, until a page has run to its end
    named: dict[str, None] = field(default_factory=dict)  # in words, each once


def _left_out() -> _LeftOut:
    found: _LeftOut = st.session_state.setdefault(KEY, _LeftOut())
    return found


def begin(asked: Link | None) -> None:
    """Before a page runs, that was opened with this address, without what belongs to the selection;
    None: it was open, and what it was opened with is found when it first runs to its end."""
    st.session_state.pop(controls.NOTES, None)
    if asked is not None:
        st.session_state[KEY] = _LeftOut(asked)


def say(parts: Iterable[str]) -> None:
    """In words, such as `layer 7`; at once, where the page has its question."""
    left_out = _left_out()
    left_out.named |= dict.fromkeys(parts)
    if left_out.named and controls.NOTES in st.session_state:
        st.session_state[controls.NOTES].info(controls.unmarked(_sentence([*left_out.named])))


def find() -> None:
    """What the controls drawn until now do not show of the address. A page that begins anew has
    only this of them: the next time they show what was chosen since."""
    left_out = _left_out()
    for name in [name for name in left_out.asked if name in st.session_state]:
        values = left_out.asked.pop(name)
        if st.query_params.get_all(name) != values:
            lost = not_shown(values, st.session_state[name])
            left_out.named |= dict.fromkeys(f"{name}={value[:LONGEST]}" for value in lost)


def end() -> None:
    """Of a page that has run."""
    find()
    say([])
    st.session_state[KEY] = _LeftOut()


def stop() -> NoReturn:
    """In place of st.stop, after which nothing can be said."""
    end()
    st.stop()


def not_shown(asked: Sequence[str], shown: Any) -> list[str]:
    """The values of an address that a control with this one does not show."""
    values = shown if isinstance(shown, list | tuple) else [shown]
    return [word for word in asked if not any(_writes(word, value) for value in values)]


def _writes(word: str, value: Any) -> bool:
    if isinstance(value, bool):
        return word.lower() == str(value).lower()
    if isinstance(value, int | float):
        try:
            return float(word) == value
        except ValueError:
            return False
    return str(value) == word or str(value).endswith(f":{word}")  # domain:law, as a link has it


def _sentence(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return f"The link asks for {parts[0]}, which is not here and is left out."
    named = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"The link asks for {named}, which are not here and are left out."
