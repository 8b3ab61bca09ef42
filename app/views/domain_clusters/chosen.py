"""Which points of a map stand out: those of the selection, of a cluster, of an area drawn on it.

P = points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.areas import inside, read_area
from app.trace import Trace
from app.views.domain_clusters import token_values
from app.views.domain_clusters.map_points import MapPoints
from app.views.shared.selection import Selection
from data.routing import PHASES


@dataclass(frozen=True, slots=True)
class Chosen:
    selected_P: np.ndarray | None  # of the selection; None: it says nothing about these points
    drawn_P: np.ndarray | None  # of the cluster and the area; None: there are none

    @property
    def standing_out(self) -> np.ndarray | None:
        return _both(self.selected_P, self.drawn_P)

    @property
    def compared(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The points compared, and which of all points they are compared with: those drawn around,
        of the selection, with the others of the selection; without any, the selection itself."""
        if self.drawn_P is None:
            return None if self.selected_P is None else (self.selected_P, self._all())
        among_P = self._all() if self.selected_P is None else self.selected_P
        return self.drawn_P & among_P, among_P

    def _all(self) -> np.ndarray:
        some = self.drawn_P if self.selected_P is None else self.selected_P
        assert some is not None
        return np.ones(len(some), dtype=bool)


def chosen(
    trace: Trace, points: MapPoints, selection: Selection, *, area: str, cluster: int | None
) -> Chosen:
    """ValueError: no area is written so."""
    drawn_P = None if cluster is None else points.frame.cluster.to_numpy() == cluster
    if area:
        drawn_P = _both(drawn_P, inside(read_area(area), points.places_2P))
    return Chosen(_selected(trace, points, selection), drawn_P)


def marked(points: MapPoints, selection: Selection) -> int:
    """The row of the first token selected; -1: none is, or it is not on the map."""
    if points.what != "tokens" or not selection.tokens:
        return -1
    doc_id, position = selection.tokens[0]
    frame = points.frame
    here = np.flatnonzero((frame.doc_id == doc_id) & (frame.position == position))
    return int(here[0]) if len(here) else -1


def _selected(trace: Trace, points: MapPoints, selection: Selection) -> np.ndarray | None:
    frame, found = points.frame, list[np.ndarray]()
    if selection.domains:
        found.append(frame.domain.isin(selection.domains).to_numpy())
    if selection.experts:
        found.append(_of_experts(trace, points, selection.experts))
    if points.what != "experts":
        if selection.groups:
            found.append(np.isin(points.frame.unit.to_numpy(), selection.groups))
        texts = selection.texts or tuple(doc_id for doc_id, _ in selection.tokens)
        if texts:
            found.append(np.isin(frame.doc_id.to_numpy(), texts))
    if points.what == "tokens" and selection.phase:
        found.append(token_values.phases(trace, points) == PHASES.index(selection.phase))
    return np.logical_and.reduce(found) if found else None


def _of_experts(trace: Trace, points: MapPoints, experts: Sequence[tuple[int, int]]) -> np.ndarray:
    """Tokens that chose one of them, prompts that chose it most; of experts, themselves."""
    frame = points.frame
    of_P = np.zeros(len(points), dtype=bool)
    for layer_id, expert_id in experts:
        if points.what == "experts":
            of_P |= ((frame.layer_id == layer_id) & (frame.expert_id == expert_id)).to_numpy()
        else:
            of_P |= token_values.choosing(trace, points, (layer_id, expert_id))
    return of_P


def _both(first_P: np.ndarray | None, second_P: np.ndarray | None) -> np.ndarray | None:
    if first_P is None or second_P is None:
        return second_P if first_P is None else first_P
    return first_P & second_P
