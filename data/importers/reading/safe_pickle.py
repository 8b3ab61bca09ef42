"""A pickle read without running it: numbers, texts, lists, dicts, tuples, and what the caller makes
of the few names that it allows. Every other opcode and name is refused."""

import struct
from collections.abc import Callable, Mapping
from typing import Final

MOST_BYTES = 64 << 20  # of a pickle: an importer holds all that is in it
MOST_CONTAINERS = 2_000_000  # lists, dicts and tuples: one byte of a pickle makes one
MOST_KEPT = 4_000_000  # values kept to be referred to
MOST_DIGITS = 16  # bytes of an integer
INTERNED = 1 << 18  # different integers are kept once: token ids and positions repeat

Call = Callable[[tuple[object, ...]], object]


class Name:
    """A class or function that a pickle names, and nothing more of it."""

    __slots__ = ("full",)

    def __init__(self, full: str) -> None:
        self.full: Final = full


class _Mark:
    """Where the items of a container begin on the stack."""


MARK = _Mark()
FOUR_BYTES, PLACE = struct.Struct("<i"), struct.Struct("<I")
SIZES = {"B": 1, "<I": 4}  # of the numbers that opcodes have
CUT = "ends within a value"


class PickleReader:
    """`calls`: what a pickle may call, by full name; `names`: what else it may name. `persistent`
    makes a value of what it only refers to. `where` begins every message. A caller compares the
    length with MOST_BYTES first."""

    def __init__(
        self,
        pickle: bytes,
        where: str,
        *,
        calls: Mapping[str, Call],
        names: frozenset[str],
        persistent: Call,
    ) -> None:
        self._pickle, self._where = pickle, where
        self._calls, self._names, self._persistent = calls, names, persistent
        self._at = 0
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._containers = 0
        self._integers = {number: number for number in range(65_536)}

    def read(self) -> object:
        """ValueError of one line, whatever the bytes are."""
        try:
            return self._run()
        except (IndexError, struct.error):
            raise self._error(CUT) from None

    def _run(self) -> object:
        pickle, stack, memo, known = self._pickle, self._stack, self._memo, self._integers
        push, at = stack.append, 0
        while True:
            opcode = pickle[at]
            if opcode == 0x4B:  # an integer of 1, 2 or 4 bytes: most of a dump
                push(pickle[at + 1])
                at += 2
            elif opcode == 0x4D:
                push(known[pickle[at + 1] | pickle[at + 2] << 8])
                at += 3
            elif opcode == 0x4A:
                [number] = FOUR_BYTES.unpack_from(pickle, at + 1)
                full = len(known) >= INTERNED
                push(known.get(number, number) if full else known.setdefault(number, number))
                at += 5
            elif opcode == 0x72:  # kept for later, and taken again
                [place] = PLACE.unpack_from(pickle, at + 1)
                self._keep(place)
                at += 5
            elif opcode == 0x68 and pickle[at + 1] in memo:
                push(memo[pickle[at + 1]])
                at += 2
            elif opcode == 0x2E:
                self._at = at
                return self._last()
            else:
                self._at = at + 1
                step = STEPS.get(opcode)
                if step is None:
                    raise self._error(f"holds opcode {opcode:#04x}, which no dump needs")
                step(self)
                at = self._at

    def _last(self) -> object:
        if len(self._stack) != 1:
            raise self._error(f"ends with {len(self._stack)} values")
        return self._pop()

    def _error(self, what: str) -> ValueError:
        return ValueError(
            f"{self._where} {what} (byte {self._at:,} of its pickle); copy it again, or have it "
            "written anew"
        )

    def _take(self, length: int) -> bytes:
        if length > len(self._pickle) - self._at:
            raise self._error(CUT)
        taken = self._pickle[self._at : self._at + length]
        self._at += length
        return taken

    def _number(self, form: str) -> int:
        [number] = struct.unpack_from(form, self._pickle, self._at)
        self._at += SIZES[form]
        return int(number)

    def _pop(self) -> object:
        value = self._stack.pop()
        if value is MARK:
            raise self._error("lacks a value")
        return value

    def _count(self) -> None:
        self._containers += 1
        if self._containers > MOST_CONTAINERS:
            raise ValueError(
                f"{self._where} holds more than {MOST_CONTAINERS:,} lists, dicts and tuples; "
                "record less at once"
            )

    def _since_mark(self) -> list[object]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is MARK:
                items = self._stack[place + 1 :]
                del self._stack[place:]
                return items
        raise self._error("lacks the beginning of a list")

    def _top(self, kind: type) -> object:
        if type(self._stack[-1]) is not kind:
            raise self._error(f"fills something that is no {kind.__name__}")
        return self._stack[-1]

    # What each opcode does.

    def _skip(self, length: int) -> None:
        self._take(length)

    def _push_long(self) -> None:
        length = self._number("B")
        if length > MOST_DIGITS:
            raise self._error(f"holds an integer of {length} bytes")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _push_float(self) -> None:
        self._stack.append(struct.unpack(">d", self._take(8))[0])

    def _push_text(self, form: str) -> None:
        taken = self._take(self._number(form))
        try:
            self._stack.append(taken.decode())
        except UnicodeDecodeError:
            raise self._error("holds a text that is not UTF-8") from None

    def _push_container(self, kind: Callable[[], object]) -> None:
        self._count()
        self._stack.append(kind())

    def _tuple(self, length: int) -> None:
        self._count()
        items = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def _tuple_since_mark(self) -> None:
        self._count()
        self._stack.append(tuple(self._since_mark()))

    def _append(self) -> None:
        value = self._pop()
        self._extend([value])

    def _extend(self, items: list[object]) -> None:
        into = self._top(list)
        assert isinstance(into, list)
        into.extend(items)

    def _set(self, items: list[object]) -> None:
        into = self._top(dict)
        assert isinstance(into, dict)
        if len(items) % 2:
            raise self._error("has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):
                raise self._error(f"has a key that is a {type(key).__name__}")
            into[key] = value

    def _set_one(self) -> None:
        value = self._pop()
        key = self._pop()
        self._set([key, value])

    def _keep(self, place: int) -> None:
        self._memo[place] = self._stack[-1]
        if len(self._memo) > MOST_KEPT:
            raise ValueError(
                f"{self._where} refers to more than {MOST_KEPT:,} values; record less at once"
            )

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise self._error(f"refers to value {place}, which it lacks")
        self._stack.append(self._memo[place])

    def _line(self) -> str:
        end = self._pickle.find(b"\n", self._at, self._at + 500)
        if end < 0:
            raise self._error(CUT)
        taken = self._take(end - self._at).decode("ascii", errors="replace")
        self._at += 1
        return taken

    def _name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._error("names something without a text")
        full = f"{module}.{name}"
        if full not in self._calls and full not in self._names:
            shown = full[:80].encode("unicode_escape").decode()
            raise ValueError(
                f"{self._where} holds code ({shown}), which is not run; a dump holds numbers and "
                "tensors only"
            )
        self._stack.append(Name(full))

    def _name_from_stack(self) -> None:
        name = self._pop()
        self._name(self._pop(), name)

    def _call(self) -> None:
        arguments = self._pop()
        called = self._pop()
        if not isinstance(called, Name) or called.full not in self._calls:
            raise self._error("calls what is no function")
        if not isinstance(arguments, tuple):
            raise self._error("calls a function without arguments")
        self._count()
        self._stack.append(self._calls[called.full](arguments))

    def _refer(self) -> None:
        reference = self._pop()
        if not isinstance(reference, tuple):
            raise self._error("refers to a storage without a name")
        self._count()
        self._stack.append(self._persistent(reference))


STEPS: Mapping[int, Callable[[PickleReader], None]] = {
    0x80: lambda reader: reader._skip(1),  # protocol
    0x95: lambda reader: reader._skip(8),  # length of a frame
    0x28: lambda reader: reader._stack.append(MARK),
    0x4E: lambda reader: reader._stack.append(None),
    0x88: lambda reader: reader._stack.append(True),
    0x89: lambda reader: reader._stack.append(False),
    0x8A: PickleReader._push_long,
    0x47: PickleReader._push_float,
    0x58: lambda reader: reader._push_text("<I"),
    0x8C: lambda reader: reader._push_text("B"),
    0x5D: lambda reader: reader._push_container(list),
    0x7D: lambda reader: reader._push_container(dict),
    0x29: lambda reader: reader._stack.append(()),
    0x85: lambda reader: reader._tuple(1),
    0x86: lambda reader: reader._tuple(2),
    0x87: lambda reader: reader._tuple(3),
    0x74: PickleReader._tuple_since_mark,
    0x61: PickleReader._append,
    0x65: lambda reader: reader._extend(reader._since_mark()),
    0x73: PickleReader._set_one,
    0x75: lambda reader: reader._set(reader._since_mark()),
    0x71: lambda reader: reader._keep(reader._number("B")),
    0x94: lambda reader: reader._keep(len(reader._memo)),
    0x68: lambda reader: reader._get(reader._number("B")),
    0x6A: lambda reader: reader._get(reader._number("<I")),
    0x63: lambda reader: reader._name(reader._line(), reader._line()),
    0x93: PickleReader._name_from_stack,
    0x52: PickleReader._call,
    0x51: PickleReader._refer,
}
