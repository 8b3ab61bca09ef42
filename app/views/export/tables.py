"""Every table of a trace, by name, and the zip that holds them all."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import pair_table, queries
from analysis.significance import MAX_Q, specialists
from analysis.specialization import MIN_LIFT
from app import evidence, sidecars, stored, summary_kinds
from app.jobs.worker import Progress
from app.studies import ablation
from app.studies.summary import summarize
from app.trace import Trace, open_trace
from app.views.coactivation import pair_tests, transitions
from app.views.export.manifest import manifest
from app.views.overview import layers, units
from app.views.shared import needs
from app.views.shared.layer_names import as_in_model
from app.views.vocabulary import tables as vocabulary_tables
from app.workspace import JOB_SECONDS, trace_file
from data.report import TRACE_TABLES, trace_table, write_zip
from data.sidecar_kind import Kind

Make = Callable[[Trace], pd.DataFrame]


def _asked(query: Callable[[DuckDBPyConnection], pd.DataFrame]) -> Make:
    """What a query gives for a whole trace."""

    def table(trace: Trace) -> pd.DataFrame:
        with trace.cursor() as con:
            return query(con)

    return table


def _every_layer(query: Callable[[DuckDBPyConnection, int], pd.DataFrame]) -> Make:
    def table(trace: Trace) -> pd.DataFrame:
        with trace.cursor() as con:
            frames = [query(con, layer).assign(layer_id=layer) for layer in trace.layers]
        return pd.concat(frames, ignore_index=True)

    return table


TABLES: dict[str, tuple[str, Make]] = {
    "expert_choices": (
        "Choices and summed weight of every expert, dead ones too",
        _asked(queries.expert_tokens),
    ),
    "layers": (
        "MoE layers as the model names them: experts, scoring, weighting, selection",
        layers.table,
    ),
    "domains": (
        "Texts, groups, tokens and mean loss of each domain, with the design effect",
        evidence.domains,
    ),
    "texts": ("Every text with its domain, group and length", _asked(queries.documents)),
    "expert_domain_tokens": (
        "Choices of every expert by domain",
        _asked(queries.expert_domain_tokens),
    ),
    "tokens_by_k": (
        "Tokens of each layer and domain by the number of experts they run",
        _asked(queries.domain_k),
    ),
    "gate_by_layer": (
        "Entropy and margin of the gate",
        _asked(queries.gate_summary),
    ),
    "coactivation": (
        "Tokens that chose both experts of a pair",
        _every_layer(queries.coactivation),
    ),
    "transitions": (
        "Tokens that go from an expert to an expert of the next layer",
        _every_layer(queries.transitions),
    ),
}
STATISTICS: dict[str, tuple[str, Make]] = {
    "expert_load": (
        "log2 of every expert's load over the layer's mean, with interval and test",
        lambda trace: evidence.expert_loads(trace)[[*evidence.LOAD_COLUMNS]],
    ),
    "load_by_layer": (
        "Balance of every layer, with intervals",
        lambda trace: evidence.load_metrics(evidence.metrics(trace)),
    ),
    "load_by_layer_and_domain": (
        "Balance of every layer and domain, with intervals",
        evidence.domain_metrics,
    ),
    "expert_pairs": (
        "Pairs of experts relative to their loads: log2 lift with interval and test",
        lambda trace: _pairs(trace),
    ),
    "expert_transitions": (
        "Pairs of an expert and one of the next layer: log2 lift with interval and test",
        lambda trace: _transitions(trace),
    ),
    "vocabulary_by_layer": (
        "How closely experts follow the token, with the value by chance, the corrected value, "
        "interval and test",
        vocabulary_tables.summary,
    ),
}
VARYING_STATISTICS: dict[str, tuple[str, Make]] = {  # where k does
    "experts_per_token": (
        "Mean number of experts per token, by layer and domain, with interval and test",
        evidence.mean_k,
    ),
}
OF_TOKENS = {  # left out where a trace has counts only
    "tokens_by_k",
    "gate_by_layer",
    "coactivation",
    "transitions",
    "expert_pairs",
    "expert_transitions",
    "experts_per_token",
}
OF_TOKEN_IDS = {"vocabulary_by_layer"}
BESIDE: dict[str, tuple[Kind, str, Make]] = {  # computed beside the trace, if it was
    "information_beyond_token": (
        sidecars.INFORMATION,
        "What the domain tells about the expert beyond the token",
        lambda trace: _information(trace),
    ),
    "causes": (
        sidecars.CAUSES,
        "Change in loss without an expert, with intervals, tests and verdict",
        lambda trace: _causes(trace),
    ),
}
DOMAIN_STATISTICS: dict[str, tuple[str, Make]] = {
    "expert_load": (
        "log2 of every expert's load over the layer's mean, with interval and test",
        lambda trace: evidence.expert_loads(trace)[[*evidence.LOAD_COLUMNS]],
    ),
    "specialization_by_layer": (
        "What the chosen expert tells about the domain, by layer, with intervals",
        lambda trace: evidence.specialization_metrics(evidence.metrics(trace)),
    ),
    "expert_domain_lift": (
        "log2 lift of every expert and domain, with interval and test",
        lambda trace: evidence.lifts(trace)[list(evidence.LIFT_COLUMNS)],
    ),
    "specialists": (
        f"Experts with q < {MAX_Q} and a lift of at least {MIN_LIFT:g}, clearest first, and "
        "whether they matter",
        lambda trace: _specialists(trace),
    ),
    "replication": (
        "Whether specialists found in some texts reappear in others",
        lambda trace: _known(evidence.replication_table(trace)),
    ),
    "experts_per_domain": (
        "How many experts prefer each domain, with intervals",
        lambda trace: evidence.expert_counts(trace)[0],
    ),
    "experts_per_domain_by_layer": (
        "The same for every layer",
        lambda trace: evidence.expert_counts(trace)[1],
    ),
}


UNIT_STATISTICS: dict[str, tuple[str, Make]] = {  # of a corpus
    "specialists_by_unit": (
        "How many specialists there are with the text, group, sublabel or source as the unit",
        lambda trace: _known(units.by_unit(trace)),
    ),
}


AWAITED: dict[str, Kind] = {  # of a large trace: what has them
    "expert_load": summary_kinds.LOADS,
    "load_by_layer": summary_kinds.METRICS,
    "load_by_layer_and_domain": summary_kinds.METRICS,
    "domains": summary_kinds.SAMPLE,
    "specialization_by_layer": summary_kinds.METRICS,
    "expert_domain_lift": summary_kinds.LIFTS,
    "specialists": summary_kinds.LIFTS,
    "replication": summary_kinds.REPLICATION,
    "experts_per_domain": summary_kinds.COUNTS,
    "experts_per_domain_by_layer": summary_kinds.COUNTS,
    "specialists_by_unit": summary_kinds.UNITS,
}


def awaited(trace: Trace) -> set[str]:
    """Tables that are not computed yet."""
    missing = stored.coming(trace)
    return {name for name, kind in AWAITED.items() if kind in missing}


def _beside(trace: Trace) -> dict[str, tuple[str, Make]]:
    return {
        name: (title, table)
        for name, (kind, title, table) in BESIDE.items()
        if stored.beside(trace, kind) is not None
    }


def _known(table: pd.DataFrame | None) -> pd.DataFrame:
    return pd.DataFrame() if table is None else table


def _information(trace: Trace) -> pd.DataFrame:
    known = vocabulary_tables.information(trace)
    return pd.DataFrame() if known is None else known


def _causes(trace: Trace) -> pd.DataFrame:
    known = stored.causes(trace)
    return pd.DataFrame() if known is None else known


def _pairs(trace: Trace) -> pd.DataFrame:
    layers = []
    for layer_id in trace.layers:
        pairs = pair_tests.layer_pairs(trace, layer_id)
        if pairs.reason:
            continue
        layers.append(
            pair_table.pair_table(pairs.tests, layer_id=layer_id, null="load", counts=pairs.counts)
        )
    return pd.concat(layers, ignore_index=True) if layers else pd.DataFrame()


def _transitions(trace: Trace) -> pd.DataFrame:
    layers = [transitions.layer_table(trace, layer) for layer in trace.layers[:-1]]
    return pd.concat(layers, ignore_index=True) if layers else pd.DataFrame()


def _specialists(trace: Trace) -> pd.DataFrame:
    causes = stored.causes(trace)
    table = specialists(evidence.lifts(trace))[list(evidence.LIFT_COLUMNS)]
    return ablation.with_verdicts(table, causes)


def tables(trace: Trace) -> dict[str, tuple[str, partial[pd.DataFrame]]]:
    """name -> (what a row is, how to make it)."""
    chosen = TABLES | STATISTICS | (VARYING_STATISTICS if trace.k_varies else {})
    if not needs.has_token_ids(trace):
        chosen = {name: table for name, table in chosen.items() if name not in OF_TOKEN_IDS}
    if trace.info.counts_only:
        chosen = {name: table for name, table in chosen.items() if name not in OF_TOKENS}
    if len(evidence.present_domains(trace)) > 1:
        chosen |= DOMAIN_STATISTICS | (UNIT_STATISTICS if units.known(trace) else {})
    return {
        name: (title, partial(_in_model, table, trace))
        for name, (title, table) in (chosen | _beside(trace)).items()
    }


def _in_model(table: Make, trace: Trace) -> pd.DataFrame:
    return as_in_model(table(trace), trace)


def build_zip(progress: Progress, trace_path: Path, *, raw: bool, bom: bool) -> Path:
    """The work of a job: every table, then the trace's own tables if asked for."""
    path, trace = progress.folder / "tables.zip", open_trace(trace_file(trace_path))
    with trace.cursor(seconds=JOB_SECONDS) as con:
        if stored.coming(trace):
            progress.tell(note="intervals and tests")
            summarize(con, trace.info, trace.path, on_stage=lambda *stage: progress.checkpoint())
        chosen = {name: _whole(table) for name, (_, table) in tables(trace).items()}
        if raw:
            chosen |= {f"trace_{name}": _raw(con, name) for name in TRACE_TABLES}

        def count(rows: int) -> None:
            progress.checkpoint()
            progress.advance(rows, unit="rows")

        write_zip(path, chosen, manifest(trace, raw=raw), bom=bom, on_rows=count)
    return path


def _whole(table: partial[pd.DataFrame]) -> Callable[[], Iterable[pd.DataFrame]]:
    return lambda: [table()]


def _raw(con: DuckDBPyConnection, name: str) -> Callable[[], Iterable[pd.DataFrame]]:
    return lambda: trace_table(con, name)
