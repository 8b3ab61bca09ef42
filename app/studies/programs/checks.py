"""In the process of the tests: runs them, and asks the program's process for whatever the program
defines. The verdict is made here, where the program cannot reach.

Standard library alone.
"""

import ast
import builtins
import importlib
import sys
import types
from typing import Any, BinaryIO

from app.studies.programs.values import pack, receive, send, unpack

FORWARDED = (
    *("__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__delitem__"),
    *("__contains__", "__bool__", "__str__", "__repr__", "__enter__", "__exit__"),
)
COMPARED = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")


class Program:
    """The other process, asked one question at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests, self.answers = requests, answers
        if receive(answers) != "ready":
            raise EOFError("the program did not run to its end")

    def ask(self, what: str, *arguments: Any) -> Any:
        send(self.requests, [what, *(pack(one, handle) for one in arguments)])
        answer = receive(self.answers)
        if "raised" in answer:
            raise exception(answer["raised"])(answer["text"])
        if what == "call":
            update(arguments[1], unpack(answer["changed"], self.remote))
        value = answer["value"]
        if isinstance(value, dict) and "module" in value:
            return standard_module(value["module"])
        return unpack(value, self.remote)

    def remote(self, number: int) -> "Remote":
        return Remote(self, number)


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

    def __hash__(self) -> int:
        return hash(self._number)


def forwarded(name: str) -> Any:
    def method(self: Remote, *given: Any) -> Any:
        if name in COMPARED and not isinstance(given[0], Remote):
            return NotImplemented
        return self._program.ask("method", self, name, *given)

    return method


for special in (*FORWARDED, *COMPARED):
    setattr(Remote, special, forwarded(special))


class Names(dict[str, Any]):
    """Of the tests: their own, then the builtins, then the program's."""

    def __init__(self, program: Program, given: dict[str, Any]) -> None:
        super().__init__(given)
        self.program = program

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        self[name] = self.program.ask("name", name)
        return self[name]


def main(setup: dict[str, Any], requests: BinaryIO, answers: BinaryIO) -> bool:
    """Whether all of the tests ran without an error."""
    try:
        program = Program(requests, answers)
        names = Names(program, given_functions(setup["prompt"]) | {"__name__": "__main__"})
        exec(compile(setup["tests"], "tests.py", "exec"), names)
    except BaseException:
        return False
    return True


def given_functions(prompt: str) -> dict[str, Any]:
    """Imports and functions of a prompt before the one that the program completes: its tests use
    these as they were given, not as the program may have changed them."""
    tree = parsed(prompt)
    if tree is None:
        return {}
    names: dict[str, Any] = {"__name__": "given"}
    exec(compile(ast.Module(tree.body[:-1], []), "prompt.py", "exec"), names)
    return {
        name: value
        for name, value in names.items()
        if isinstance(value, types.ModuleType)
        or (callable(value) and not (isinstance(value, type) and value.__module__ == "given"))
    }


def parsed(prompt: str) -> ast.Module | None:
    for ending in ("", "\n    pass"):  # a header alone needs a body
        try:
            return ast.parse(prompt + ending)
        except (SyntaxError, ValueError):
            continue
    return None


def handle(value: Any) -> int:
    if isinstance(value, Remote):
        return value._number
    raise TypeError(f"{type(value).__name__} of a test cannot be handed to the program")


def update(given: list[Any], changed: list[Any]) -> None:
    """In place, as the call did."""
    for own, now in zip(given, changed, strict=False):
        if isinstance(own, list) and isinstance(now, list):
            own[:] = now
        elif isinstance(own, dict | set) and type(now) is type(own):
            own.clear()
            own.update(now)


def exception(name: str) -> type[Exception]:
    kind = getattr(builtins, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, Exception) else Exception


def standard_module(name: str) -> types.ModuleType:
    if name.split(".")[0] not in sys.stdlib_module_names:
        raise ImportError(f"{name} is not of the standard library")
    return importlib.import_module(name)
