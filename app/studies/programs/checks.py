"""In the process of the tests: runs them, and asks the program's process for whatever the program
defines. The verdict is made here, where the program cannot reach.

Standard library alone.
"""

import ast
import builtins
import importlib
import re
import sys
import types
from collections import deque
from contextlib import suppress
from typing import Any, BinaryIO

from app.studies.programs.values import pack, receive, send, unpack

DEFINED = re.compile(r"^(?:async\s+)?(?:def|class)\s+(\w+)", re.MULTILINE)
IMMUTABLE = (int, float, complex, str, bytes, tuple, frozenset, type(None))
FORWARDED = (
    *("__len__", "__iter__", "__next__", "__reversed__", "__getitem__", "__setitem__"),
    *("__delitem__", "__contains__", "__bool__", "__str__", "__repr__", "__hash__"),
    *("__int__", "__float__", "__index__", "__abs__", "__neg__", "__enter__", "__exit__"),
)
AMONG_THEMSELVES = (
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__add__", "__sub__", "__mul__"),
    *("__matmul__", "__truediv__", "__floordiv__", "__mod__", "__and__", "__or__", "__xor__"),
)


class Program:
    """The other process, asked one question at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests, self.answers = requests, answers
        self.remotes: dict[int, Remote] = {}
        send(requests, "confined")
        if receive(answers) != "ready":
            raise EOFError("the program did not run to its end")

    def ask(self, what: str, *arguments: Any) -> Any:
        send(self.requests, [what, *(pack(one, handle) for one in arguments)])
        answer = receive(self.answers)
        if "raised" in answer:
            raise exception(
                answer["raised"], unpack(answer["arguments"], self.remote), answer["text"]
            )
        value = answer["value"]
        if what == "call":
            given = [*arguments[1], *arguments[2].values()]
            update(given, unpack(answer["changed"], self.remote))
            if isinstance(value, dict) and "argument" in value:
                return given[value["argument"]]
        if isinstance(value, dict) and "module" in value:
            return standard_module(value["module"], arguments[-1])
        return unpack(value, self.remote)

    def remote(self, number: int) -> "Remote":
        return self.remotes.setdefault(number, Remote(self, number))


class Remote:
    """What is no plain data stays with the program. It is equal to nothing but its own like: a
    program must not say of itself that it gave the right answer."""

    def __init__(self, program: Program, number: int) -> None:
        self.__dict__.update(_program=program, _number=number)

    def __getattr__(self, name: str) -> Any:
        return self._program.ask("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.ask("set", self, name, value)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        return self._program.ask("call", self, list(positional), named)

    def __instancecheck__(self, one: Any) -> bool:
        """Where a test says isinstance(one, this): a class of the program."""
        return isinstance(one, Remote) and self._program.ask("method", one, "__isinstance__", self)


def forwarded(name: str) -> Any:
    def method(self: Remote, *given: Any) -> Any:
        if name in AMONG_THEMSELVES and not isinstance(given[0], Remote):
            return NotImplemented
        return self._program.ask("method", self, name, *given)

    return method


for special in (*FORWARDED, *AMONG_THEMSELVES):
    setattr(Remote, special, forwarded(special))


class Names(dict[str, Any]):
    """Of the tests: their own and those of the prompt, then the program's, then the builtins. A
    program must not replace what it is measured with: where the prompt says what to write, only
    that may be named like a builtin."""

    def __init__(self, program: Program, prompt: str) -> None:
        super().__init__(given_functions(prompt) | {"__name__": "__main__"})
        self.program = program
        self.asked_for = set(DEFINED.findall(prompt))

    def __missing__(self, name: str) -> Any:
        builtin = hasattr(builtins, name)
        if builtin and self.asked_for and name not in self.asked_for:
            raise KeyError(name)
        try:
            value = self.program.ask("name", name)
        except KeyError:
            if name in self.asked_for:
                raise NameError(name) from None  # not Python's own in its place
            if not builtin:
                raise
            value = getattr(builtins, name)
        if not isinstance(value, IMMUTABLE):  # the program may give the name another value
            self[name] = value
        return value


def main(setup: dict[str, Any], requests: BinaryIO, answers: BinaryIO) -> bool:
    """Whether all of the tests ran without an error."""
    try:
        names = Names(Program(requests, answers), setup["prompt"])
        exec(compile(setup["tests"], "tests.py", "exec"), names)
    except BaseException:
        return False
    return True


def given_functions(prompt: str) -> dict[str, Any]:
    """Imports and functions of a prompt before the one that the program completes: its tests use
    these as they were given, not as the program may have changed them."""
    names: dict[str, Any] = {"__name__": "given"}
    exec(compile(before_the_last(prompt), "prompt.py", "exec"), names)
    return {
        name: value
        for name, value in names.items()
        if isinstance(value, types.ModuleType)
        or (callable(value) and not (isinstance(value, type) and value.__module__ == "given"))
    }


def before_the_last(prompt: str) -> ast.Module:
    """The whole statements before the one, perhaps cut anywhere, that a prompt ends with."""
    lines = prompt.split("\n")
    for number in range(len(lines) - 1, 0, -1):
        if lines[number][:1].strip("# \t\r\f"):  # a statement may begin here
            try:
                return ast.parse("\n".join(lines[:number]))
            except (SyntaxError, ValueError):
                continue  # a line of the same statement
    return ast.Module([], [])


def handle(value: Any) -> int:
    if isinstance(value, Remote):
        return value._number
    raise TypeError(f"{type(value).__name__} of a test cannot be handed to the program")


def update(given: list[Any], changed: list[Any]) -> None:
    """In place, as the call did."""
    for own, now in zip(given, changed, strict=False):
        if isinstance(now, list | bytearray | deque):
            own.clear()
            own.extend(now)
        elif now is not None:
            own.clear()
            own.update(now)


def exception(name: str, arguments: list[Any], text: str) -> Exception:
    """As the program raised it, where it can be made from what it was made of."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = Exception
    for given in (arguments, [text]):
        with suppress(TypeError, ValueError):
            return kind(*given)
    return ValueError(text) if issubclass(kind, ValueError) else Exception(text)


def standard_module(name: str, asked: str) -> types.ModuleType:
    """Under its own name alone: not pickle where a test says json."""
    if name.split(".")[0] not in sys.stdlib_module_names or name.split(".")[-1] != asked:
        raise ImportError(f"{name} is not the module {asked} of the standard library")
    return importlib.import_module(name)
