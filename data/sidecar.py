"""Results computed later lie beside the trace as <name>.<what>.parquet; it never changes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

METADATA_KEY = b"routescope"


def sidecar_path(trace: Path, what: str) -> Path:
    return trace.with_suffix(f".{what}.parquet")


def write_sidecar(
    trace: Path, what: str, frame: pd.DataFrame, parameters: Mapping[str, object]
) -> Path:
    """Replaces the old one in one step: a reader meets either the old or the new, never half."""
    path = sidecar_path(trace, what)
    partial = path.with_name(f"{path.name}.partial")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {METADATA_KEY: json.dumps(parameters).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), partial, compression="zstd")
    os.replace(partial, path)
    return path


def sidecar_parameters(trace: Path, what: str) -> dict[str, object] | None:
    """What it was made with, without its rows; None if there is none, or it is damaged."""
    path = sidecar_path(trace, what)
    if not path.is_file():
        return None
    try:
        return json.loads((pq.read_schema(path).metadata or {})[METADATA_KEY])
    except (pa.ArrowInvalid, KeyError, json.JSONDecodeError):
        return None


def read_sidecar(trace: Path, what: str) -> tuple[pd.DataFrame, dict[str, object]] | None:
    """The frame and the parameters it was made with; None if it was not made yet."""
    path = sidecar_path(trace, what)
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        parameters = json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (pa.ArrowInvalid, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path.name} is damaged or not ours; run `routescope project` again"
        ) from error
    return table.replace_schema_metadata().to_pandas(), parameters
