"""Prompt files as they are damaged, and as nobody should write them: each is read or refused in one
line, and nothing else happens."""

import io
import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.lines import Limits
from data.prompts import read_prompts

LIMITS = Limits(documents=500, rows=10_000, characters=200_000, total_characters=2_000_000)
PROCESSES = 2
SHOWN = 5  # first failures
CELLS = (
    "a text, of words",
    "",
    " ",
    "math",
    "none",
    "caf\u00e9 \u65e5\u672c\u8a9e",
    'say "yes"',
    "two\nlines",
    "\0",
    "\ud800",
    "\u202eabc",
    "x" * 3_000,
    "9" * 5_000,
)
NAMES = ("text", "prompt", "domain", "group", "Text", "Domain", "label", "", "a\nb")
VALUES: tuple[object, ...] = (
    None,
    True,
    7,
    -(10**120),
    0.5,
    float("nan"),
    float("inf"),
    [],
    {"a": {}},
    ["text"],
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "shift_jis")


def run(count: int, seed: int, work: Path) -> dict[str, int | float]:
    """read, refused, uncaught (any other exception, or a message of several lines). A reader that
    ends its process is an error here."""
    work.mkdir(parents=True, exist_ok=True)
    parts = [(range(place, count, PROCESSES), seed, work) for place in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        outcomes = [text for of in pool.map(_tried, *zip(*parts, strict=True)) for text in of]
    uncaught = [text for text in outcomes if text not in ("read", "refused")]
    for text in uncaught[:SHOWN]:
        print(text, file=sys.stderr)
    counted = {name: outcomes.count(name) for name in ("read", "refused")}
    return {"tried": len(outcomes), **counted, "uncaught": len(uncaught)}


def _tried(numbers: range, seed: int, work: Path) -> list[str]:
    path = work / f"part{numbers.start}"
    return [_outcome(f"{seed}:{number}", path) for number in numbers]


def _outcome(name: str, path: Path) -> str:
    rng = random.Random(name)
    suffix, make = rng.choice(list(MAKERS.items()))
    file = path.with_suffix(suffix)
    file.write_bytes(_damaged(make(rng), rng))
    try:
        read_prompts(file, LIMITS)
    except ValueError as error:
        if type(error) is ValueError and "\n" not in str(error):
            return "refused"
        return f"{name}{suffix}: {type(error).__name__} {error}"
    except BaseException as error:
        return f"{name}{suffix}: {type(error).__name__} {error}"
    finally:
        file.unlink()
    return "read"


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """A third as it is, the others cut, with bits flipped, or with bytes put in."""
    damage = rng.randrange(6)
    if damage < 2 or not content:
        return content
    place = rng.randrange(len(content))
    if damage == 2:
        return content[:place]
    if damage == 3:
        return content[:place] + rng.randbytes(rng.randint(1, 9)) + content[place:]
    changed = bytearray(content)
    for _ in range(1 if damage == 4 else 20):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cell(rng: random.Random) -> object:
    return rng.choice(CELLS[:4] if rng.random() < 0.7 else CELLS + VALUES)


def _names(rng: random.Random) -> list[str]:
    if rng.random() < 0.7:
        return ["text", "domain", "group"][: rng.randint(1, 3)]
    return rng.choices(NAMES, k=rng.randint(1, 4))


def _encoded(text: str, rng: random.Random) -> bytes:
    encoding = "utf-8" if rng.random() < 0.7 else rng.choice(ENCODINGS)
    errors = "surrogatepass" if encoding.startswith("utf") else "replace"
    return text.encode(encoding, errors)


def _txt(rng: random.Random) -> bytes:
    ends = rng.choice(["\n", "\r\n", "\r"])
    return _encoded(ends.join(str(_cell(rng)) for _ in range(rng.randint(0, 8))), rng)


def _csv(rng: random.Random) -> bytes:
    names = _names(rng)
    rows = [names] + [[_cell(rng) for _ in names] for _ in range(rng.randint(0, 6))]
    quote = rng.choice(['"', '"', "'", ""])
    text = "\n".join(",".join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    return _encoded(text, rng)


def _jsonl(rng: random.Random) -> bytes:
    lines = []
    for _ in range(rng.randint(0, 6)):
        record = {name: _cell(rng) for name in _names(rng)}
        lines.append(json.dumps(record, ensure_ascii=rng.random() < 0.5))
    if rng.random() < 0.2:
        deep = rng.choice([50, 5_000, 100_000])
        odd = ["[" * deep, '{"text":' * deep, '{"text": ' + "9" * 5_000 + "}", "[1]", "null", "{}"]
        lines.append(rng.choice(odd))
    return _encoded("\n".join(lines), rng)


def _parquet(rng: random.Random) -> bytes:
    rows, names = rng.randint(0, 6), _names(rng)
    columns = [_column(rng, rows) for _ in names]
    file = io.BytesIO()
    compression = rng.choice(["none", "snappy", "zstd", "gzip"])
    table = pa.Table.from_arrays(columns, names=names)
    pq.write_table(table, file, compression=compression, use_dictionary=rng.random() < 0.5)
    return file.getvalue()


def _column(rng: random.Random, rows: int) -> pa.Array:
    texts = [rng.choice([*CELLS[:8], None]) for _ in range(rows)]
    if rng.random() < 0.6:
        kind = rng.choice([pa.string(), pa.large_string(), pa.string_view(), pa.json_()])
        return pa.array(texts, kind)
    raw = pa.array([rng.randbytes(rng.randrange(9)) for _ in range(rows)], pa.binary())
    numbers = [rng.choice([None, 7, 2**62]) for _ in range(rows)]
    odd: list[Callable[[], pa.Array]] = [
        lambda: pa.nulls(rows),
        lambda: pa.array(texts, pa.string()).dictionary_encode(),
        lambda: raw,
        lambda: raw.view(pa.string()),
        lambda: pa.array(numbers, pa.int64()),
        lambda: pa.array([0.5] * rows, pa.float64()),
        lambda: pa.array([[text] for text in texts], pa.list_(pa.string())),
        lambda: pa.array([{"text": text} for text in texts], pa.struct([("text", pa.string())])),
    ]
    return rng.choice(odd)()


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    ".txt": _txt,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
