"""JSON that every reader takes: Python's own writes NaN and Infinity, which are not JSON."""

import json
import math
from collections.abc import Mapping


def json_text(value: object, *, indent: int | None = None) -> str:
    """A number that is not finite becomes null. Indented, for people: text in its own script."""
    return json.dumps(finite(value), indent=indent, allow_nan=False, ensure_ascii=indent is None)


def finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
