"""Maps of points by their routing, and how far their clusters agree with domains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import queries
from app import sidecars
from app.trace import Trace
from app.views.domain_clusters import points as map_points
from app.views.domain_clusters.figures import cluster_map, domain_map, value_map
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette, visible
from data.sidecar import Absent, Sidecar, sidecar_path

METHOD = ("Maps", "agreement")
LISTED = 200  # rows of a selection on the page
LISTED_COLUMNS = (
    "domain",
    "layer_id",
    "expert_id",
    "tokens",
    "doc_id",
    "position",
    "distance",
)


def panels(
    trace: Trace,
    palette: Palette,
    *,
    what: str = "tokens",
    colour: str = "domain",
    layer_id: int = 0,
    expert_id: int = 0,
    shown: Sidecar | None = None,
) -> list[Panel]:
    """The map of tokens, prompts or experts, coloured by domain, cluster, distance from the others
    or one expert's share, and the agreement of its clusters with the domains. `shown`: what is
    shown as the map; without it that which was made, if it was."""
    stored = shown or trace.beside(sidecars.MAPS[what])
    if isinstance(stored, Absent):
        return []
    points, parameters = stored.frame, stored.parameters
    hover = map_points.hover(points, what, names_of(trace))
    if colour == "cluster":
        figure = cluster_map(points, hover, palette)
    elif colour == "expert":
        values = map_points.expert_share(trace, points, what, layer_id, expert_id)
        figure = value_map(points, values, hover, palette, title=f"expert {expert_id}")
    elif colour == "distance" and parameters["method"] == "umap":
        distance = points.distance.to_numpy(float)
        figure = value_map(points, distance, hover, palette, title="distance")
    else:
        figure = domain_map(points, hover, palette)
    return [
        _map(trace, what, points, parameters, figure, colour=colour),
        *_agreement(what, parameters),
    ]


def selection_panel(trace: Trace, chosen: pd.DataFrame, what: str, *, of: int) -> Panel:
    """The domains and the texts of the points that were chosen among so many shown."""
    counts = chosen.domain.value_counts()
    parts = ", ".join(f"{domain} {count / len(chosen):.0%}" for domain, count in counts.items())
    more = f"The first {LISTED} of {len(chosen):,}; the CSV has all of them."
    return Panel(
        name=f"selected_{what}",
        table=chosen,
        answer=f"{len(chosen):,} of the {of:,} {what} shown are selected: {parts}.",
        note=more if len(chosen) > LISTED else "",
        preview=_selection_preview(trace, chosen.head(LISTED), what),
    )


def _selection_preview(trace: Trace, chosen: pd.DataFrame, what: str) -> pd.DataFrame:
    columns = [name for name in chosen if name in LISTED_COLUMNS]
    listed = chosen[sorted(columns, key=lambda name: name != "domain")]
    if what != "experts":
        listed = listed.assign(text=[visible(text) for text in chosen.text])
    if what == "tokens":
        with trace.cursor() as con:
            texts = queries.documents(con).set_index("doc_id").text
        listed = listed.assign(
            in_text=texts.reindex(listed.doc_id).fillna("").map(visible).to_numpy()
        )
    return listed


def _map(
    trace: Trace,
    what: str,
    points: pd.DataFrame,
    parameters: Mapping[str, Any],
    figure: go.Figure,
    *,
    colour: str,
) -> Panel:
    file = sidecar_path(trace.path, sidecars.MAPS[what]).name
    note = map_points.map_note(what, parameters, shown=len(points), file=file)
    if colour == "distance":
        note = f"{map_points.distance_note(parameters)} {note}"
    return Panel(
        name=f"map_of_{what}",
        table=points.replace({np.nan: None}),
        answer=map_points.clusters_answer(what, parameters),
        figure=figure,
        alt=f"Map of {what} by routing",
        note=note,
    )


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
            preview=table,
        )
    ]
