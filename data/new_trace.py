"""A new trace: what it is a capture of, and the file in which nothing is captured yet."""

import re
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from data.connection import connect, first_line
from data.strict_json import json_text
from data.trace_check import SCHEMA
from data.trace_format import FORMAT_VERSION
from data.trace_paths import discard, fresh_path


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDescription:
    """What a capture is of. A resumed capture must have the same."""

    name: str
    source: str  # routescope, transformers, sglang, ...
    model_name: str
    model_sha256: str  # 64 hexadecimal digits; empty where there is none
    tokenizer: str
    num_layers: int  # MoE layers
    num_experts: int  # routed experts a layer
    num_shared_experts: int
    scoring: str  # softmax, sigmoid
    top_k: int | None  # None where it varies from token to token
    seed: int | None
    config: dict[str, object]  # the model's configuration, the capture's, versions; becomes JSON

    def __post_init__(self) -> None:
        if not re.fullmatch("([0-9a-f]{64})?", self.model_sha256):
            raise ValueError(
                f"model_sha256 is {self.model_sha256!r:.80}; give the 64 hexadecimal digits of a "
                "SHA-256, or an empty text"
            )


def difference(name: str, stored: object, given: object, *, where: str = "now") -> str:
    """Names the first field that differs, with both values."""
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in [*stored, *(key for key in given if key not in stored)]:
            if stored.get(key) != given.get(key):
                return difference(f"{name}.{key}", stored.get(key), given.get(key), where=where)
    return f"{name} ({stored}, {where} {given})"


def create_empty(path: Path, description: TraceDescription) -> None:
    """The file appears with all its tables, or not at all."""
    fresh = fresh_path(path)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    discard(fresh)
    try:
        with connect(fresh, read_only=False) as connection:
            fill_empty(connection, description)
            connection.execute("CHECKPOINT")  # that of closing is silent where it fails
    except BaseException as error:
        discard(fresh)
        if isinstance(error, duckdb.Error):
            raise ValueError(f"cannot write {path}: {first_line(error)}") from error
        raise
    fresh.rename(path)


def fill_empty(connection: duckdb.DuckDBPyConnection, description: TraceDescription) -> None:
    connection.execute(SCHEMA.read_text(encoding="utf-8"))
    values = asdict(description) | {
        "config": json_text(description.config | {"truncated": {"documents": 0, "tokens": 0}}),
        "trace_id": uuid.uuid4().hex,
        "created_at": datetime.now(UTC).replace(tzinfo=None),
        "format_version": FORMAT_VERSION,
    }
    names = ", ".join(values)
    places = ", ".join(f"${name}" for name in values)
    connection.execute(f"INSERT INTO trace ({names}) VALUES ({places})", values)
    connection.execute(
        "INSERT INTO expert SELECT layer_id, expert_id "
        "FROM range($1) layers(layer_id), range($2) experts(expert_id) ORDER BY ALL",
        [description.num_layers, description.num_experts],
    )
