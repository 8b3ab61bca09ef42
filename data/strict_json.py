"""JSON that every reader takes: Python's own writes NaN and Infinity, which are not JSON; and JSON
from files of strangers."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NUMBER_TOO_LONG = "a number of more than 4,300 digits"  # Python's limit for integers


def json_text(value: object, *, indent: int | None = None) -> str:
    """A number that is not finite becomes null. Indented, for people: text in its own script."""
    return json.dumps(finite(value), indent=indent, allow_nan=False, ensure_ascii=indent is None)


def read_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """ValueError: it is not JSON, not an object, or ambiguous; `remedy` is what to do then."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_name_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {what_is_wrong(error)}; {remedy}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object; {remedy}")
    return value


def each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(name, times)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it has {name!r:.80} {times} times")
    return values


def what_is_wrong(error: Exception) -> str:
    """In words for users, where Python speaks to programmers."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return NUMBER_TOO_LONG if "set_int_max_str_digits" in str(error) else str(error)


def finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
