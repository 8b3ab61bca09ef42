"""What an export says of itself: trace, model, how its figures were tested, versions."""

from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from analysis import bootstrap, metric_intervals, permutation, queries, significance
from app import evidence, sample
from app.kept import spans
from app.studies.summary import groups_said
from app.trace import Trace
from app.views.shared import limits
from app.views.shared.layer_names import names_of
from data.report import records

LAYER_ID = "number of a MoE layer in the model, from 0"


def manifest(trace: Trace, *, raw: bool) -> dict[str, Any]:
    described = asdict(trace.info) | {"created_at": trace.info.created_at.isoformat()}
    with trace.cursor() as con:
        found = [asdict(finding) for finding in queries.findings(con)]
    packages = ("routescope", "duckdb", "pandas", "numpy", "streamlit")
    return {
        "trace": described,
        "trace_file": {"name": trace.path.name, "bytes": trace.file.size},
        "model_sha256": trace.info.model_sha256,
        "findings": found,
        "layer_id": _counted(trace, raw=raw),
        "filters": {"phase": "all", "domain": "all", "raw_tables": raw},
        "statistics": statistics(trace),
        "versions": {package: version(package) for package in packages},
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "formula_guard": "text that starts like a formula has a leading apostrophe",
    }


def _counted(trace: Trace, *, raw: bool) -> str:
    """What layers are counted by."""
    if not (numbers := names_of(trace).numbers) or not raw:
        return LAYER_ID
    return f"{LAYER_ID}; in trace_*.csv from 0 over those stored, {spans(numbers)}"


def statistics(trace: Trace) -> dict[str, object]:
    """How the figures of an export were tested."""
    return {
        "sample": trace.unit,
        "interval": f"{bootstrap.CONFIDENCE:.0%}",
        "interval_method": "over groups: of layers by bootstrap, of lifts and loads by Student's t",
        "family_size": significance.family_size(evidence.lifts(trace)),
        "false_discovery_rate": f"Benjamini-Hochberg, q < {significance.MAX_Q}",
        "resamples": bootstrap.RESAMPLES,
        "permutations": permutation.PERMUTATIONS,
        "permutations_of_a_null": metric_intervals.NULL_PERMUTATIONS,
        "seed": evidence.SEED,
        "groups": groups_said(trace.info),
        "sample_by_domain": records(sample.by_domain(trace)),
        "limits": [*trace.not_kept, *limits.limits(trace)],
    }
