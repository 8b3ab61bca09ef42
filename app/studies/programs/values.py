"""Values between the process of a program and that of its tests: plain data as JSON, so that what
a program answers can be read without trusting it. All else stays where it is and gets a number.

Standard library alone: it runs in both processes.
"""

import json
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

# (type, its parts, made from them); a type stands before those that it is a kind of
Parts = tuple[type, Callable[[Any], list[Any]], Callable[[list[Any]], Any]]
PLAIN: dict[str, Parts] = {
    "tuple": (tuple, list, tuple),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "deque": (deque, lambda it: [list(it), it.maxlen], lambda parts: deque(*parts)),
    "Counter": (Counter, lambda it: [dict(it)], lambda parts: Counter(*parts)),
    "OrderedDict": (OrderedDict, lambda it: [dict(it)], lambda parts: OrderedDict(*parts)),
    "keys": (type({}.keys()), list, lambda parts: dict.fromkeys(parts).keys()),
    "items": (type({}.items()), list, lambda parts: dict(parts).items()),
    "range": (range, lambda it: [it.start, it.stop, it.step], lambda parts: range(*parts)),
    "slice": (slice, lambda it: [it.start, it.stop, it.step], lambda parts: slice(*parts)),
    "bytes": (bytes, lambda it: [it.hex()], lambda parts: bytes.fromhex(*parts)),
    "bytearray": (bytearray, lambda it: [it.hex()], lambda parts: bytearray.fromhex(*parts)),
    "complex": (complex, lambda it: [it.real, it.imag], lambda parts: complex(*parts)),
    "Decimal": (Decimal, lambda it: [str(it)], lambda parts: Decimal(*parts)),
    "Fraction": (Fraction, lambda it: list(it.as_integer_ratio()), lambda parts: Fraction(*parts)),
    "datetime": (datetime, lambda it: [it.isoformat()], lambda it: datetime.fromisoformat(*it)),
    "date": (date, lambda it: [it.isoformat()], lambda parts: date.fromisoformat(*parts)),
    "time": (time, lambda it: [it.isoformat()], lambda parts: time.fromisoformat(*parts)),
    "timedelta": (
        timedelta,
        lambda it: [it.days, it.seconds, it.microseconds],
        lambda parts: timedelta(*parts),
    ),
}
LONG = 10_000  # bits from which Python does not read a number from decimal digits


def pack(value: Any, keep: Callable[[Any], int]) -> Any:
    """What JSON can hold; `keep` numbers what is no plain data."""
    if isinstance(value, int) and value.bit_length() > LONG:
        return {"int": hex(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [pack(item, keep) for item in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = [type(value).__name__, list(value._fields), list(value)]
        return {"namedtuple": pack(parts, keep)}
    for name, (kind, parts_of, _) in PLAIN.items():
        if isinstance(value, kind):
            return {name: [pack(item, keep) for item in parts_of(value)]}
    if isinstance(value, dict):
        return {"dict": [[pack(key, keep), pack(item, keep)] for key, item in value.items()]}
    return {"object": keep(value)}


def unpack(packed: Any, kept: Callable[[int], Any]) -> Any:
    if isinstance(packed, list):
        return [unpack(item, kept) for item in packed]
    if not isinstance(packed, dict):
        return packed
    [(kind, content)] = packed.items()
    if kind == "object":
        return kept(int(content))
    if kind == "int":
        return int(content, 16)
    if kind == "dict":
        return {unpack(key, kept): unpack(item, kept) for key, item in content}
    parts = [unpack(item, kept) for item in content]
    if kind == "namedtuple":
        name, fields, items = parts
        return namedtuple(name, fields)(*items)
    _, _, made_from = PLAIN[kind]
    return made_from(parts)


def send(file: BinaryIO, message: Any) -> None:
    file.write(json.dumps(message).encode() + b"\n")
    file.flush()


def receive(file: BinaryIO) -> Any:
    line = file.readline()
    if not line:
        raise EOFError("the other process has ended")
    return json.loads(line)
