"""JSON that every reader takes: Python's own writes NaN and Infinity, which are not JSON; and JSON
from files of strangers."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_text(value: object, *, indent: int | None = None) -> str:
    """A number that is not finite becomes null. Indented, for people: text in its own script."""
    return json.dumps(finite(value), indent=indent, allow_nan=False, ensure_ascii=indent is None)


def read_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """ValueError: it is not JSON, or not an object; `remedy` is what to do then."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}; {remedy}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object; {remedy}")
    return value


def finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
