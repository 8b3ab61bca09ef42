"""Results beside a trace as somebody else, or an earlier version, would have left them."""

import json
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import queries
from analysis.queries import TraceInfo
from data.sidecar import DIGEST_KEY, METADATA_KEY, sidecar_path
from data.sidecar_kind import Kind
from data.store import open_trace


def info_of(path: Path) -> TraceInfo:
    with open_trace(path) as con:
        return queries.trace_info(con)


def write_earlier(trace: Path, kind: Kind, frame: pd.DataFrame, **parameters: object) -> None:
    """As before a result named its trace and its version."""
    _write(trace, kind, frame, {METADATA_KEY: json.dumps(parameters).encode()})


def write_unchecked(trace: Path, kind: Kind, frame: pd.DataFrame, parameters: object) -> None:
    """What write_sidecar() would refuse, signed as it signs."""
    told = json.dumps(parameters).encode()
    digest = sha256(told).hexdigest().encode()
    _write(trace, kind, frame, {METADATA_KEY: told, DIGEST_KEY: digest})


def _write(trace: Path, kind: Kind, frame: pd.DataFrame, metadata: dict[bytes, bytes]) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(metadata), sidecar_path(trace, kind))
