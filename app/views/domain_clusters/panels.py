"""Maps of points by their routing, and how far their clusters agree with domains."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from app import sidecars
from app.trace import Trace
from app.views.domain_clusters import points as map_points
from app.views.domain_clusters.figures import domain_map
from app.views.domain_clusters.map_points import MapPoints
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from data.sidecar import Absent, sidecar_path

METHOD = ("Maps", "agreement", "over_represented", "cluster_words")


def panels(trace: Trace, palette: Palette, *, what: str = "tokens") -> list[Panel]:
    """The landmarks of the map of tokens, prompts or experts, and how far its clusters agree with
    the domains; nothing where none was made."""
    stored = trace.beside(sidecars.MAPS[what])
    if isinstance(stored, Absent):
        return []
    points, parameters = stored.frame, stored.parameters
    map_ = Panel(
        name=f"map_of_{what}",
        table=points.replace({np.nan: None}),
        answer=map_points.clusters_answer(what, parameters),
        figure=domain_map(points, map_points.hover(points, what, names_of(trace)), palette),
        alt=f"Map of {what} by routing",
        note=_note(trace, what, parameters, shown=len(points)),
    )
    return [map_, *_agreement(what, parameters)]


def of_all_points(trace: Trace, points: MapPoints, *, by: str) -> list[Panel]:
    """What the map shows while nothing on it is chosen; the file has the landmarks."""
    note = _note(trace, points.what, points.parameters, shown=len(points))
    if by == "distance":
        note = f"{map_points.distance_note(points.parameters)} {note}"
    map_ = Panel(
        name=f"landmarks_of_{points.what}",
        table=points.landmarks,
        note=note,
    )
    return [map_, *_agreement(points.what, points.parameters)]


def _note(trace: Trace, what: str, parameters: Mapping[str, Any], *, shown: int) -> str:
    file = sidecar_path(trace.path, sidecars.MAPS[what]).name
    return map_points.map_note(what, parameters, shown=shown, file=file)


def _agreement(what: str, parameters: Mapping[str, Any]) -> list[Panel]:
    """Clusters against domains, beside shuffled domains; empty where nothing is compared."""
    if not parameters.get("agreement"):
        return []
    table = map_points.agreement_table(parameters)
    return [
        Panel(
            name=f"agreement_of_{what}",
            table=table,
            title="Clusters against domains",
            note=f"{map_points.UNTESTED.capitalize()}.",
            preview=table.drop(columns="note"),
        )
    ]
