"""Values between the process of a program and that of its tests: plain data as JSON, so that what
a program answers can be read without trusting it. All else stays where it is and gets a number.

Standard library alone: it runs in both processes.
"""

import json
from collections.abc import Callable
from typing import Any, BinaryIO

SEQUENCES = {"tuple": tuple, "set": set, "frozenset": frozenset}


def pack(value: Any, keep: Callable[[Any], int]) -> Any:
    """What JSON can hold; `keep` numbers what is no plain data."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [pack(item, keep) for item in value]
    if isinstance(value, dict):
        return {"dict": [[pack(key, keep), pack(item, keep)] for key, item in value.items()]}
    for name, kind in SEQUENCES.items():
        if isinstance(value, kind):
            return {name: [pack(item, keep) for item in value]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    return {"object": keep(value)}


def unpack(packed: Any, kept: Callable[[int], Any]) -> Any:
    if isinstance(packed, list):
        return [unpack(item, kept) for item in packed]
    if not isinstance(packed, dict):
        return packed
    [(kind, content)] = packed.items()
    if kind == "object":
        return kept(int(content))
    if kind == "dict":
        return {unpack(key, kept): unpack(item, kept) for key, item in content}
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*content)
    return SEQUENCES[kind](unpack(item, kept) for item in content)


def send(file: BinaryIO, message: Any) -> None:
    file.write(json.dumps(message).encode() + b"\n")
    file.flush()


def receive(file: BinaryIO) -> Any:
    line = file.readline()
    if not line:
        raise EOFError("the other process has ended")
    return json.loads(line)
