"""Every table of a trace, by name, and the zip that holds them all."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import load, queries, specialization
from analysis.queries import TraceInfo
from app import workspace
from app.jobs import Job
from app.workspace import TraceFile
from data.report import TRACE_TABLES, trace_table, write_zip

Table = Callable[[DuckDBPyConnection, TraceInfo], pd.DataFrame]


def _load(con: DuckDBPyConnection, info: TraceInfo) -> np.ndarray:
    return queries.load_array(queries.expert_tokens(con), info)


def _domains(con: DuckDBPyConnection, info: TraceInfo) -> np.ndarray:
    return queries.domain_array(queries.expert_domain_tokens(con), info)


def _every_layer(query: Callable[[DuckDBPyConnection, int], pd.DataFrame]) -> Table:
    def table(con: DuckDBPyConnection, info: TraceInfo) -> pd.DataFrame:
        frames = [query(con, layer).assign(layer_id=layer) for layer in range(info.num_layers)]
        return pd.concat(frames, ignore_index=True)

    return table


LOAD_TABLES: dict[str, tuple[str, Table]] = {
    "domains": (
        "Texts, tokens and mean loss of each domain",
        lambda con, info: queries.domain_tokens(con),
    ),
    "texts": ("Every text with its domain and length", lambda con, info: queries.documents(con)),
    "expert_load": (
        "Choices of every expert, dead ones too",
        lambda con, info: queries.expert_tokens(con),
    ),
    "load_by_layer": (
        "Balance metrics of every layer",
        lambda con, info: load.load_table(_load(con, info)),
    ),
    "load_by_layer_and_domain": (
        "Balance metrics of every layer and domain",
        lambda con, info: load.domain_load_table(_domains(con, info), info.domains),
    ),
    "expert_domain_tokens": (
        "Choices of every expert by domain",
        lambda con, info: queries.expert_domain_tokens(con),
    ),
    "gate_by_layer": (
        "Entropy and margin of the gate",
        lambda con, info: queries.gate_summary(con),
    ),
    "coactivation": ("Tokens that chose both of two experts", _every_layer(queries.coactivation)),
    "transitions": (
        "Tokens from an expert to one of the next layer",
        _every_layer(queries.transitions),
    ),
}
DOMAIN_TABLES: dict[str, tuple[str, Table]] = {
    "experts_per_domain": (
        "How many experts work for each domain",
        lambda con, info: specialization.experts_per_domain(_domains(con, info), info.domains),
    ),
    "experts_per_domain_by_layer": (
        "The same in every layer",
        lambda con, info: specialization.experts_per_domain_by_layer(
            _domains(con, info), info.domains
        ),
    ),
    "expert_domain_lift": (
        "How much more than by chance each expert serves each domain",
        lambda con, info: lift_table(_domains(con, info), info),
    ),
    "specialization_by_layer": (
        "What an expert tells about the domain, by layer",
        lambda con, info: specialization.specialization_table(_domains(con, info)),
    ),
}


def lift_table(tokens_LEG: np.ndarray, info: TraceInfo) -> pd.DataFrame:
    """layer_id, expert_id, domain, tokens, lift."""
    ids = pd.MultiIndex.from_product(
        [range(info.num_layers), range(info.num_experts), info.domains],
        names=["layer_id", "expert_id", "domain"],
    )
    lift_LEG = specialization.domain_lift(tokens_LEG)
    table = pd.DataFrame({"tokens": tokens_LEG.ravel(), "lift": lift_LEG.ravel()}, index=ids)
    return table.reset_index()


def tables(info: TraceInfo) -> dict[str, tuple[str, Table]]:
    """name -> (what a row is, how to make it)."""
    return LOAD_TABLES | (DOMAIN_TABLES if len(info.domains) > 1 else {})


def manifest(trace: TraceFile, info: TraceInfo, *, raw: bool) -> dict[str, Any]:
    described = asdict(info) | {"created_at": info.created_at.isoformat()}
    packages = ("routescope", "duckdb", "pandas", "numpy", "streamlit")
    return {
        "trace": described,
        "trace_file": {"name": trace.path.name, "bytes": trace.size},
        "model_sha256": info.model_sha256,
        "filters": {"phase": "all", "domain": "all", "raw_tables": raw},
        "versions": {package: version(package) for package in packages},
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "formula_guard": "text that starts like a formula has a leading apostrophe",
    }


def build_zip(job: Job, trace: TraceFile, *, raw: bool) -> Path:
    """The work of a job: every table, then the trace's own tables if asked for."""
    path = workspace.scratch() / f"{uuid.uuid4().hex}.zip"
    with workspace.cursor(trace) as con:
        info = queries.trace_info(con)
        chosen = {name: _chunks(con, info, table) for name, (_, table) in tables(info).items()}
        if raw:
            chosen |= {f"trace_{name}": _raw(con, name) for name in TRACE_TABLES}

        def count(rows: int) -> None:
            job.checkpoint()
            job.advance(rows, unit="rows")

        write_zip(path, chosen, manifest(trace, info, raw=raw), on_rows=count)
    return path


def _chunks(
    con: DuckDBPyConnection, info: TraceInfo, table: Table
) -> Callable[[], Iterable[pd.DataFrame]]:
    return lambda: [table(con, info)]


def _raw(con: DuckDBPyConnection, name: str) -> Callable[[], Iterable[pd.DataFrame]]:
    return lambda: trace_table(con, name)
