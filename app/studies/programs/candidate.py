"""In the process of a program: runs it, then answers what its tests ask. Nothing here decides.

Standard library alone.
"""

import types
from typing import Any, BinaryIO

from app.studies.programs.values import pack, receive, send, unpack

CHANGED = (list, dict, set, bytearray)  # arguments that a call may change in place


def main(setup: dict[str, Any], requests: BinaryIO, answers: BinaryIO) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(compile(setup["program"], "program.py", "exec"), names)
    except BaseException:
        return  # the tests meet the end of the pipe
    objects: list[Any] = []

    def keep(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    send(answers, "ready")
    while True:
        what, *packed = receive(requests)
        try:
            arguments = [unpack(one, objects.__getitem__) for one in packed]
            value, changed = answer(names, what, arguments)
            send(answers, {"value": described(value, keep), "changed": pack(changed, keep)})
        except Exception as error:
            known = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            send(answers, {"raised": known.__name__, "text": str(error)})


def answer(names: dict[str, Any], what: str, arguments: list[Any]) -> tuple[Any, list[Any]]:
    """(the value, the arguments of a call as they are afterwards)"""
    if what == "name":
        return names[arguments[0]], []
    if what == "attribute":
        return getattr(*arguments), []
    if what == "set":
        return setattr(*arguments), []  # type: ignore[func-returns-value]
    if what == "call":
        function, positional, named = arguments
        value = function(*positional, **named)
        return value, [one if isinstance(one, CHANGED) else None for one in positional]
    owner, name, *given = arguments
    method = getattr(type(owner), name, None)
    if method is None:
        raise TypeError(f"{type(owner).__name__} has no {name}")
    return method(owner, *given), []


def described(value: Any, keep: Any) -> Any:
    if isinstance(value, types.ModuleType):
        return {"module": value.__name__}
    return pack(value, keep)
