"""What came of leaving experts out of a shipped model, measured on its demo, comes with it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis import queries
from analysis.queries import TraceInfo
from app.sidecars import CAUSES
from data.sidecar import Sidecar, read_sidecar, write_sidecar
from data.store import open_trace

SHIPPED = "shipped"  # in place of a trace's id: it belongs to every demo of the same texts
TEXTS = "texts_sha256"


def adopt(folder: Path, trace: Path) -> None:
    """Beside a demo that was just made, if what lies in the folder is of the same model and the
    same texts."""
    info, texts = _identified(trace)
    shipped = read_sidecar(folder / trace.name, CAUSES, of=replace(info, trace_id=SHIPPED))
    if not isinstance(shipped, Sidecar):
        return
    measured_on = {"model_sha256": info.model_sha256, TEXTS: texts}
    if measured_on.items() <= shipped.parameters.items():
        told = {k: v for k, v in shipped.parameters.items() if k not in ("trace_id", "version")}
        write_sidecar(trace, CAUSES, shipped.frame, told, of=info)


def ship(folder: Path, trace: Path, rows: pd.DataFrame, parameters: Mapping[str, object]) -> None:
    """Into the folder of a model: rows of a cause_table measured with it on that trace. The
    parameters name its model_sha256."""
    info, texts = _identified(trace)
    shipped = replace(info, trace_id=SHIPPED)
    write_sidecar(folder / trace.name, CAUSES, rows, {**parameters, TEXTS: texts}, of=shipped)


def _identified(trace: Path) -> tuple[TraceInfo, str]:
    with open_trace(trace) as con:
        return queries.trace_info(con), queries.texts_sha256(con)
