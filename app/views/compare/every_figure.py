"""The figures of every page, by page: to stand beside those of another trace."""

from collections.abc import Callable, Iterator

from analysis.cause_tests import with_verdicts
from analysis.expert_bytes import expert_bytes
from analysis.offload.caches import Setting
from app import sidecars, stored
from app.commands.cache import BANDWIDTH
from app.studies.expert_lists.subject import KINDS
from app.studies.expert_lists.subject import Settings as ListSettings
from app.studies.placement import Settings, usual_gpus
from app.studies.summary import is_large
from app.trace import Trace
from app.views.cache import panels as cache
from app.views.cache.replayed import replayed
from app.views.causes import panels as causes
from app.views.coactivation import panels as coactivation
from app.views.domain_clusters import panels as domain_clusters
from app.views.expert_lists import made as lists
from app.views.expert_lists import panels as expert_lists
from app.views.load_balance import panels as load_balance
from app.views.overview import panels as overview
from app.views.placement import made as maps
from app.views.placement import panels as placement
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
        for panel in domain_clusters.panels(trace, palette, what=what)
    ]


def _causes(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    found = stored.beside(trace, sidecars.CAUSES)
    return [] if found is None else causes.panels(with_verdicts(found.frame), palette)


def _placement(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    settings = Settings(gpus=usual_gpus(trace.info.num_experts))
    try:
        of = maps.by_every_policy(trace, settings, None)
    except ValueError:  # layers of different sizes, say
        return []
    return placement.panels(trace, palette, of=of)


def _cache(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    if trace.info.counts_only:
        return []
    try:
        sizes = replayed(trace, per_layer=False, cold=False).sizes
    except ValueError:  # no token chose an expert
        return []
    setting = Setting(slots=sizes[len(sizes) // 2], per_layer=False, cold=False)
    costs = cache.Costs(expert_bytes=expert_bytes(trace.info), bandwidth=BANDWIDTH * 1e9)
    return cache.panels(trace, palette, setting=setting, costs=costs)


def _expert_lists(trace: Trace, palette: Palette, layer_id: int) -> list[Panel]:
    """Of a large trace they are made by jobs, on their own page."""
    if is_large(trace.info):
        return []
    found = [lists.at_once(trace, ListSettings(kind=kind)) for kind in KINDS]
    made = [of for of in found if not isinstance(of, str)]
    return [panel for of in made for panel in expert_lists.panels(trace, palette, of)]


PAGES: dict[str, Make] = {
    "Load balance": _load_balance,
    "Overview": _overview,
    "Specialization": _specialization,
    "Co-activation": _coactivation,
    "Vocabulary": _vocabulary,
    "Domain clusters": _clusters,
    "Causes": _causes,
    "Placement": _placement,
    "Cache": _cache,
    "Expert lists": _expert_lists,
}

OF_ONE_LAYER = ("Specialization", "Co-activation", "Vocabulary")


def figures_of(page: str, trace: Trace, palette: Palette, layer_id: int) -> dict[str, Panel]:
    """By name; without those that show no figure."""
    return dict(_named(PAGES[page](trace, palette, layer_id)))


def _named(panels: list[Panel]) -> Iterator[tuple[str, Panel]]:
    for panel in panels:
        if panel.figure is not None:
            yield panel.name, panel
