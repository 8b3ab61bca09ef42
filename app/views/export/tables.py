"""Every table of a trace, by name, and the zip that holds them all."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import pair_table, queries
from analysis.information_table import with_q
from analysis.queries import TraceInfo
from analysis.significance import specialists
from app import evidence, workspace
from app.jobs.queue import Job
from app.studies import ablation
from app.views.coactivation import pair_tests, transitions
from app.views.vocabulary import tables as vocabulary_tables
from app.workspace import TraceFile
from data.report import TRACE_TABLES, trace_table, write_zip
from data.sidecar import read_sidecar, sidecar_path

Table = Callable[[DuckDBPyConnection, TraceInfo], pd.DataFrame]
Statistic = Callable[[TraceFile, TraceInfo], pd.DataFrame]


def _every_layer(query: Callable[[DuckDBPyConnection, int], pd.DataFrame]) -> Table:
    def table(con: DuckDBPyConnection, info: TraceInfo) -> pd.DataFrame:
        frames = [query(con, layer).assign(layer_id=layer) for layer in range(info.num_layers)]
        return pd.concat(frames, ignore_index=True)

    return table


TABLES: dict[str, tuple[str, Table]] = {
    "expert_choices": (
        "Choices and summed weight of every expert, dead ones too",
        lambda con, info: queries.expert_tokens(con),
    ),
    "domains": (
        "Texts, tokens and mean loss of each domain",
        lambda con, info: queries.domain_tokens(con),
    ),
    "texts": ("Every text with its domain and length", lambda con, info: queries.documents(con)),
    "expert_domain_tokens": (
        "Choices of every expert by domain",
        lambda con, info: queries.expert_domain_tokens(con),
    ),
    "tokens_by_k": (
        "Tokens of a layer and domain by the number of experts that they run",
        lambda con, info: queries.domain_k(con),
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
STATISTICS: dict[str, tuple[str, Statistic]] = {
    "expert_load": (
        "log2 load of every expert over the layer's mean, with interval and test",
        lambda trace, info: evidence.expert_loads(trace, info)[[*evidence.LOAD_COLUMNS]],
    ),
    "load_by_layer": (
        "Balance of every layer, with intervals",
        lambda trace, info: evidence.load_metrics(evidence.metrics(trace, info)),
    ),
    "load_by_layer_and_domain": (
        "Balance of every layer and domain, with intervals",
        evidence.domain_metrics,
    ),
    "expert_pairs": (
        "Pairs of experts against their loads: log2 lift with interval and test",
        lambda trace, info: _pairs(trace, info),
    ),
    "expert_transitions": (
        "Experts and those of the next layer: log2 lift with interval and test",
        lambda trace, info: _transitions(trace, info),
    ),
    "vocabulary_by_layer": (
        "How far experts follow the token, by chance and corrected, with interval and test",
        vocabulary_tables.summary,
    ),
}
VARYING_STATISTICS: dict[str, tuple[str, Statistic]] = {  # where k does
    "experts_per_token": (
        "Mean number of experts that a token runs, by layer and domain, with interval and test",
        evidence.mean_k,
    ),
}
BESIDE: dict[str, tuple[str, str, Statistic]] = {  # computed beside the trace, if it was
    "information": (
        "information_beyond_token",
        "What the domain decides beyond the token",
        lambda trace, info: with_q(_found(read_sidecar(trace.path, "information"))),
    ),
    ablation.WHAT: (
        "causes",
        "Change of loss without an expert, with intervals, tests and verdict",
        lambda trace, info: _causes(trace, info),
    ),
}
DOMAIN_STATISTICS: dict[str, tuple[str, Statistic]] = {
    "expert_load": (
        "log2 load of every expert over the layer's mean, with interval and test",
        lambda trace, info: evidence.expert_loads(trace, info)[[*evidence.LOAD_COLUMNS]],
    ),
    "specialization_by_layer": (
        "What an expert tells about the domain, by layer, with intervals",
        lambda trace, info: evidence.specialization_metrics(evidence.metrics(trace, info)),
    ),
    "expert_domain_lift": (
        "log2 lift of every expert and domain, with interval and test",
        lambda trace, info: evidence.lifts(trace, info)[list(evidence.LIFT_COLUMNS)],
    ),
    "specialists": (
        "Those with q < 0.05 and a lift of at least 1.5, surest first, and if they matter",
        lambda trace, info: _specialists(trace, info),
    ),
    "replication": (
        "Whether specialists of some texts show in others",
        evidence.replicated,
    ),
    "experts_per_domain": (
        "How many experts work for each domain, with intervals",
        lambda trace, info: evidence.counted_experts(trace, info)[0],
    ),
    "experts_per_domain_by_layer": (
        "The same in every layer",
        lambda trace, info: evidence.counted_experts(trace, info)[1],
    ),
}


def _beside(trace: TraceFile) -> dict[str, tuple[str, Statistic]]:
    return {
        name: (title, table)
        for what, (name, title, table) in BESIDE.items()
        if sidecar_path(trace.path, what).is_file()
    }


def _found(stored: tuple[pd.DataFrame, dict[str, Any]] | None) -> pd.DataFrame:
    return pd.DataFrame() if stored is None else stored[0]


def _causes(trace: TraceFile, info: TraceInfo) -> pd.DataFrame:
    known = ablation.stored(trace.path, model_sha256=info.model_sha256)
    return pd.DataFrame() if known is None else known


def _pairs(trace: TraceFile, info: TraceInfo) -> pd.DataFrame:
    layers = []
    for layer_id in range(info.num_layers):
        found = pair_tests.layer_pairs(trace.identity, layer_id, _trace=trace)
        if found.reason:
            continue
        layers.append(
            pair_table.pair_table(
                found.tests,
                layer_id=layer_id,
                null="load",
                num_documents=found.num_documents,
                num_tokens=found.num_tokens,
            )
        )
    return pd.concat(layers, ignore_index=True) if layers else pd.DataFrame()


def _transitions(trace: TraceFile, info: TraceInfo) -> pd.DataFrame:
    layers = [transitions.layer_table(trace, layer) for layer in range(info.num_layers - 1)]
    return pd.concat(layers, ignore_index=True) if layers else pd.DataFrame()


def _specialists(trace: TraceFile, info: TraceInfo) -> pd.DataFrame:
    causes = ablation.stored(trace.path, model_sha256=info.model_sha256)
    found = specialists(evidence.lifts(trace, info))[list(evidence.LIFT_COLUMNS)]
    return ablation.with_verdicts(found, causes)


def tables(trace: TraceFile, info: TraceInfo) -> dict[str, tuple[str, partial[pd.DataFrame]]]:
    """name -> (what a row is, how to make it)."""
    compared = (_domains(trace, info).sum((0, 1)) > 0).sum() > 1
    least, most = evidence.k_range(trace, info)
    varying = VARYING_STATISTICS if least < most else {}
    found = STATISTICS | varying | (DOMAIN_STATISTICS if compared else {}) | _beside(trace)
    return {
        name: (title, partial(_counts, table, trace, info))
        for name, (title, table) in TABLES.items()
    } | {name: (title, partial(table, trace, info)) for name, (title, table) in found.items()}


def _counts(table: Table, trace: TraceFile, info: TraceInfo) -> pd.DataFrame:
    with workspace.cursor(trace) as con:
        return table(con, info)


def _domains(trace: TraceFile, info: TraceInfo) -> np.ndarray:
    with workspace.cursor(trace) as con:
        return queries.domain_array(queries.expert_domain_tokens(con), info)


def manifest(trace: TraceFile, info: TraceInfo, *, raw: bool) -> dict[str, Any]:
    described = asdict(info) | {"created_at": info.created_at.isoformat()}
    packages = ("routescope", "duckdb", "pandas", "numpy", "streamlit")
    return {
        "trace": described,
        "trace_file": {"name": trace.path.name, "bytes": trace.size},
        "model_sha256": info.model_sha256,
        "filters": {"phase": "all", "domain": "all", "raw_tables": raw},
        "statistics": evidence.described(trace, info),
        "versions": {package: version(package) for package in packages},
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "formula_guard": "text that starts like a formula has a leading apostrophe",
    }


def build_zip(job: Job, trace: TraceFile, *, raw: bool) -> Path:
    """The work of a job: every table, then the trace's own tables if asked for."""
    path = workspace.scratch() / f"{uuid.uuid4().hex}.zip"
    with workspace.cursor(trace) as con:
        info = queries.trace_info(con)
        chosen = {name: _whole(table) for name, (_, table) in tables(trace, info).items()}
        if raw:
            chosen |= {f"trace_{name}": _raw(con, name) for name in TRACE_TABLES}

        def count(rows: int) -> None:
            job.checkpoint()
            job.advance(rows, unit="rows")

        write_zip(path, chosen, manifest(trace, info, raw=raw), on_rows=count)
    return path


def _whole(table: partial[pd.DataFrame]) -> Callable[[], Iterable[pd.DataFrame]]:
    return lambda: [table()]


def _raw(con: DuckDBPyConnection, name: str) -> Callable[[], Iterable[pd.DataFrame]]:
    return lambda: trace_table(con, name)
