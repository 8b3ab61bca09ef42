"""Files with mistakes, from small right dumps of every format: read, or refused in one line."""

import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.importing.dumps import BINARY, COUNTS, TEXT, Shape
from benchmarks.importing.small import EXPERTS, SMALL
from data.importers.importing import Dump
from data.importers.source import Options

TINY = Shape(24, 3, 8, 2)
EVERY = BINARY | TEXT | COUNTS | SMALL
NUMBERS = (b"-1", b"99999999999999999999", b"1e308", b"NaN", b"null", b"true", b'"x"', b"[]", b"{}")


def flip(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(content))
        content[place] ^= 1 << rng.randrange(8)
    return content


def cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(len(content))]


def leave_out(content: bytearray, rng: random.Random) -> bytearray:
    first = rng.randrange(len(content))
    return content[:first] + content[first + rng.randrange(1, 64) :]


def repeat(content: bytearray, rng: random.Random) -> bytearray:
    first = rng.randrange(len(content))
    part = content[first : first + rng.randrange(1, 200)]
    return content[:first] + part * rng.randrange(2, 5) + content[first:]


def another_number(content: bytearray, rng: random.Random) -> bytearray:
    """In place of a digit: what is no such number. In binary files, bytes of it."""
    digits = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    place = rng.choice(digits) if digits else rng.randrange(len(content))
    return content[:place] + rng.choice(NUMBERS) + content[place + 1 :]


def big_integer(content: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(max(1, len(content) - 8))
    content[place : place + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 4))
    return content


def joined(content: bytearray, rng: random.Random) -> bytearray:
    return content + rng.choice((bytes(content), b"\0" * 100, b"\n", b"\xff\xfe", b"}"))


MISTAKES: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    flip,
    cut,
    leave_out,
    repeat,
    another_number,
    big_integer,
    joined,
)


def run(count: int, seed: int, work: Path) -> bool:
    """Whether all went as it must. Prints what was counted."""
    rng = random.Random(seed)
    right: dict[str, Path] = {}
    formats: dict[str, str] = {}
    given = {name: Options(num_experts=EXPERTS.get(name, 8), top_k=2) for name in EVERY}
    for name, writer in EVERY.items():
        right[name] = work / f"right-{name}"
        right[name].mkdir()
        writer(right[name], TINY)
        formats[name] = Dump([right[name]], given[name]).source.format
        if (said := outcome(right[name], given[name])) != "read":
            raise ValueError(f"the right dump of {name} is not read: {said}")
    counted = Counter[str]()
    sound = True
    for number in range(count):
        name = rng.choice(list(right))
        folder = work / "wrong"
        shutil.copytree(right[name], folder)
        damaged = rng.choice([file for file in sorted(folder.rglob("*")) if file.is_file()])
        mistake = rng.choice(MISTAKES)
        damaged.write_bytes(mistake(bytearray(damaged.read_bytes()), rng))
        named = formats[name] if rng.random() < 0.5 else None
        said = outcome(folder, given[name], named=named)
        counted[said.split(":")[0]] += 1
        if said not in ("read", "refused"):
            sound = False
            print(f"{number}: {name}, {mistake.__name__}, {damaged.name}: {said}", file=sys.stderr)
            shutil.copytree(folder, work.parent / f"wrong-{seed}-{number}", dirs_exist_ok=True)
        shutil.rmtree(folder)
    print(f"{count:,} files:", ", ".join(f"{what} {some:,}" for what, some in counted.items()))
    return sound


def outcome(folder: Path, options: Options, *, named: str | None = None) -> str:
    try:
        dump = Dump([folder], options, format=named)
        for _ in dump:
            pass
    except ValueError as error:
        line = str(error)
        return "refused" if line and "\n" not in line else f"several lines: {line!r:.200}"
    except (OSError, EOFError, MemoryError) as error:
        return f"another error: {type(error).__name__}: {error!s:.200}"
    except Exception:
        return f"traceback: {traceback.format_exc()[-1500:]}"
    return "read"
