"""In the process of a program: runs it, then answers what its tests ask. Nothing here decides.

Standard library alone.
"""

import builtins
import operator
import types
from collections import deque
from typing import Any, BinaryIO

from app.studies.programs.values import pack, receive, send, unpack

CHANGED = (list, dict, set, bytearray, deque)  # arguments that a call may change in place


def main(setup: dict[str, Any], requests: BinaryIO, answers: BinaryIO) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    receive(requests)  # its tests are confined: from here on nobody can look into their process
    try:
        exec(compile(setup["program"], "program.py", "exec"), names)
    except BaseException:
        return  # the tests meet the end of the pipe
    kept = Kept()
    send(answers, "ready")
    while True:
        what, *packed = receive(requests)
        try:
            arguments = [unpack(one, kept.objects.__getitem__) for one in packed]
            send(answers, reply(names, what, arguments, kept))
        except Exception as error:
            known = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            told = {"text": str(error), "arguments": pack(list(error.args), kept)}
            send(answers, {"raised": known.__name__, **told})


class Kept:
    """What is no plain data, numbered once for each."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}

    def __call__(self, value: Any) -> int:
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return self.numbers[id(value)]


def reply(names: dict[str, Any], what: str, arguments: list[Any], kept: Kept) -> dict[str, Any]:
    """The value, and of a call the arguments as they are afterwards."""
    if what != "call":
        return {"value": described(answer(names, what, arguments), kept)}
    function, positional, named = arguments
    value = function(*positional, **named)
    given = [one if isinstance(one, CHANGED) else None for one in (*positional, *named.values())]
    same = [number for number, one in enumerate(given) if one is value is not None]
    packed = {"argument": same[0]} if same else described(value, kept)
    return {"value": packed, "changed": pack(given, kept)}


def answer(names: dict[str, Any], what: str, arguments: list[Any]) -> Any:
    if what == "name":
        return names[arguments[0]]
    if what == "attribute":
        return getattr(*arguments)
    if what == "set":
        return setattr(*arguments)
    owner, name, *given = arguments
    if name in ("__enter__", "__exit__"):
        return getattr(type(owner), name)(owner, *given)
    python = getattr(builtins, name.strip("_"), None) or getattr(operator, name)
    return python(owner, *given)  # an object need not have this method: all are true or false


def described(value: Any, kept: Kept) -> Any:
    if isinstance(value, types.ModuleType):
        return {"module": value.__name__}
    return pack(value, kept)
