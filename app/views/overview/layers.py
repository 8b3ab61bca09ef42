"""What a trace says of its MoE layers: how they score, weigh and select, and what the model calls
them."""

from dataclasses import asdict

import pandas as pd

from app.trace import Trace
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel

NAMED = 3  # layers of a line that are named one by one; of more the first and the last


def facts(trace: Trace) -> list[str]:
    """One line where all layers do alike, else one for those that do."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for layer_id, layer in enumerate(trace.info.layers):
        does = layer.scoring, layer.weighting, layer.selection
        alike.setdefault(does, []).append(layer_id)
    lines = {does: _line(*does) for does in alike}
    if len(alike) == 1:
        return list(lines.values())
    return [f"{_which(trace, of)}: {lines[does]}" for does, of in alike.items()]


def _line(scoring: str, weighting: str, selection: str) -> str:
    return f"Scoring: {scoring} · Mixing weights: {weighting} · Selection by: {selection}"


def _which(trace: Trace, layers: list[int]) -> str:
    names = [names_of(trace)[layer_id] for layer_id in layers]
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)} layers)"


def table(trace: Trace) -> pd.DataFrame:
    """layer_id, and what a LayerDescription says."""
    rows = [asdict(layer) for layer in trace.info.layers]
    return pd.DataFrame(rows).rename_axis("layer_id").reset_index().astype({"top_k": "Int64"})


def panel(trace: Trace) -> Panel:
    rows = table(trace)
    return Panel(name="layers", table=rows, title="MoE layers", preview=rows)
