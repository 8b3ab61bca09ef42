"""A new trace: what it is a capture of, and the file in which nothing is captured yet."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from data.connection import connect
from data.routing import MIXED, LayerDescription
from data.strict_json import json_text
from data.trace_check import SCHEMA
from data.trace_format import FORMAT_VERSION, LAYER_FIELDS
from data.trace_paths import discard, fresh_path
from data.words import first_line

MOST_EXPERTS = 4_096  # of a layer, as checks.sql has it


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDescription:
    """What a capture is of. A resumed capture must have the same."""

    name: str
    source: str  # routescope, transformers, sglang, ...
    model_name: str
    model_sha256: str  # 64 hexadecimal digits; empty where there is none
    tokenizer: str
    layers: tuple[LayerDescription, ...]  # with experts, first to last
    seed: int | None
    config: dict[str, object]  # the model's configuration, the capture's, versions; becomes JSON
    counts_only: bool = False  # its source counts choices and names no token

    def __post_init__(self) -> None:
        if not re.fullmatch("([0-9a-f]{64})?", self.model_sha256):
            raise ValueError(
                f"model_sha256 is {self.model_sha256!r:.80}; give the 64 hexadecimal digits of a "
                "SHA-256, or an empty text"
            )
        names = [layer.name for layer in self.layers]
        if not all(names) or len(set(names)) < len(names) or not names:
            raise ValueError(
                f"the names of its layers are {', '.join(map(repr, names)) or 'missing'}; give "
                "every MoE layer a name of its own"
            )
        for layer in self.layers:
            if layer.num_experts > MOST_EXPERTS:
                raise ValueError(
                    f"{layer.name} has {layer.num_experts:,} experts; a trace holds at most "
                    f"{MOST_EXPERTS:,} a layer"
                )
            if layer.top_k is not None and not 1 <= layer.top_k <= layer.num_experts:
                raise ValueError(
                    f"{layer.name} chooses {layer.top_k} of {layer.num_experts} experts"
                )

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def num_experts(self) -> int:
        """The most of any layer."""
        return max(layer.num_experts for layer in self.layers)

    @property
    def top_k(self) -> int | None:
        """Of all layers; None where they differ or it varies."""
        several = {layer.top_k for layer in self.layers}
        return several.pop() if len(several) == 1 else None

    def row(self) -> dict[str, object]:
        """What table trace says of it."""
        scorings = {layer.scoring for layer in self.layers}
        values = {
            name: getattr(self, name)
            for name in ("name", "source", "model_name", "model_sha256", "tokenizer", "seed")
        }
        return values | {
            "num_layers": self.num_layers,
            "num_experts": self.num_experts,
            "num_shared_experts": max(layer.num_shared_experts for layer in self.layers),
            "scoring": scorings.pop() if len(scorings) == 1 else MIXED,
            "top_k": self.top_k,
            "counts_only": self.counts_only,
            "config": self.config,
        }


def difference(name: str, stored: object, given: object, *, where: str = "now") -> str:
    """Names the first field that differs, with both values."""
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in [*stored, *(key for key in given if key not in stored)]:
            if stored.get(key) != given.get(key):
                return difference(f"{name}.{key}", stored.get(key), given.get(key), where=where)
    return f"{name} ({stored}, {where} {given})"


def layer_difference(
    stored: Sequence[LayerDescription], given: Sequence[LayerDescription], *, where: str = "now"
) -> str | None:
    """The first layer that differs and in what; None where all are the same."""
    if len(stored) != len(given):
        return difference("num_layers", len(stored), len(given), where=where)
    for layer_id, (one, two) in enumerate(zip(stored, given, strict=True)):
        for name, value in asdict(one).items():
            if value != getattr(two, name):
                what = difference(name, value, getattr(two, name), where=where)
                return f"layer {layer_id}, {one.name}: {what}"
    return None


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
    values = description.row() | {
        "config": json_text(description.config | {"truncated": {"documents": 0, "tokens": 0}}),
        "trace_id": uuid.uuid4().hex,
        "created_at": datetime.now(UTC).replace(tzinfo=None),
        "format_version": FORMAT_VERSION,
    }
    names = ", ".join(values)
    places = ", ".join(f"${name}" for name in values)
    connection.execute(f"INSERT INTO trace ({names}) VALUES ({places})", values)
    rows = [(place, *astuple(layer)) for place, layer in enumerate(description.layers)]
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO layer (layer_id, {LAYER_FIELDS}) VALUES ({marks})", rows)
    connection.execute(
        "INSERT INTO expert SELECT layer_id, expert_id "
        "FROM layer, range(num_experts) experts(expert_id) ORDER BY ALL"
    )
