"""The figures of every page, by page: to stand beside those of another trace."""

from collections.abc import Callable, Iterator

from analysis.cause_tests import with_verdicts
from app import sidecars, stored
from app.trace import Trace
from app.views.causes import panels as causes
from app.views.coactivation import panels as coactivation
from app.views.domain_clusters import panels as domain_clusters
from app.views.load_balance import panels as load_balance
from app.views.overview import panels as overview
from app.views.shared import needs
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from app.views.specialization import panels as specialization
from app.views.vocabulary import panels as vocabulary

Make = Callable[[Trace, Palette, int], list[Panel]]


def _overview(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    return overview.panels(trace, palette)


def _specialization(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    return specialization.panels(trace, palette, layer_id=layer_id, by_domain=False)


def _load_balance(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    return load_balance.panels(trace, palette)


def _coactivation(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    if trace.info.counts_only:
        return []
    return [
        panel
        for with_next in (False, True)
        for panel in coactivation.panels(
            trace, palette, layer_id=layer_id, with_next=with_next, by_coactivation=False
        )
    ]


def _vocabulary(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    if trace.info.counts_only or not needs.has_token_ids(trace):
        return []
    return vocabulary.panels(trace, palette, layer_id=layer_id)


def _clusters(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    return [
        panel
        for what in sidecars.MAPS
        for panel in domain_clusters.panels(trace, palette, what=what, layer_id=layer_id)
    ]


def _causes(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    found = stored.beside(trace, sidecars.CAUSES)
    return [] if found is None else causes.panels(with_verdicts(found.frame), palette)


PAGES: dict[str, Make] = {
    "Load balance": _load_balance,
    "Overview": _overview,
    "Specialization": _specialization,
    "Co-activation": _coactivation,
    "Vocabulary": _vocabulary,
    "Domain clusters": _clusters,
    "Causes": _causes,
}


OF_ONE_LAYER = ("Specialization", "Co-activation", "Vocabulary", "Domain clusters")


def figures_of(page: str, trace: Trace, palette: Palette, layer_id: int) -> dict[str, Panel]:
    """By name; without those that show no figure."""
    return dict(_named(PAGES[page](trace, palette, layer_id)))


def _named(panels: list[Panel]) -> Iterator[tuple[str, Panel]]:
    for panel in panels:
        if panel.figure is not None:
            yield panel.name, panel
