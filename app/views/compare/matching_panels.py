"""Which experts of two models correspond: by what the same tokens choose, and by weights."""

import numpy as np

from app.studies.expert_weights import MatchedModels, counterparts
from app.studies.matched import MatchedTraces
from app.views.compare import flips_figures as figures
from app.views.shared.heatmap import ZOOM, crowded
from app.views.shared.layer_names import LayerNames
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

Titles = tuple[str, str]  # names of the traces


def by_routing(
    found: MatchedTraces, palette: Palette, *, layer_id: int, titles: Titles, names: LayerNames
) -> Panel:
    if np.isnan(found.matches[layer_id].chance):
        answer = "There are not enough independent texts to say which experts correspond."
    else:
        answer = f"{counterparts(found.matches)}. {_of_layer(found, layer_id, names)}"
    return _panel(
        found,
        palette,
        name="matched_experts",
        title="Experts that correspond by routing",
        answer=answer,
        layer_id=layer_id,
        titles=titles,
        names=names,
        note=(
            "Correlation over tokens of being chosen, of every two experts",
            "the largest correlation of any pair when the texts of one trace are shifted against "
            "those of the other, which it exceeds in 5 of 100 layers.",
            "an expert that is never chosen, or always",
        ),
    )


def by_weights(
    found: MatchedModels,
    palette: Palette,
    routed: MatchedTraces | None,
    *,
    layer_id: int,
    titles: Titles,
    names: LayerNames,
) -> Panel:
    return _panel(
        found,
        palette,
        name="matched_experts_by_weights",
        title="Experts that correspond by weights",
        answer=f"{found.in_words(routed)} {_of_layer(found, layer_id, names)}",
        layer_id=layer_id,
        titles=titles,
        names=names,
        note=(
            "Cosine of all weights, number by number, of every two experts",
            "what the most similar of experts that do not correspond reach, by the spread of the "
            "pairs not assigned, in 5 of 100 layers.",
            "an expert without weights of its own, as in a pruned model",
        ),
    )


def _panel(
    found: MatchedTraces | MatchedModels,
    palette: Palette,
    *,
    name: str,
    title: str,
    answer: str,
    layer_id: int,
    titles: Titles,
    names: LayerNames,
    note: tuple[str, str, str],
) -> Panel:
    """note: what the similarity is, what chance is, and which expert has none."""
    match = found.matches[layer_id]
    many = crowded(*match.similarity_EF.shape)
    empty = f" Empty: {note[2]}." if np.isnan(match.similarity_EF).any() else ""
    depth = (
        ""
        if (found.layer_L == np.arange(len(found.layer_L))).all()
        else f" Layers correspond by relative depth: {names[layer_id]} to layer "
        f"{found.layer_L[layer_id]} of {titles[1]}."
    )
    return Panel(
        name=name,
        table=found.match_table(),
        title=title,
        answer=answer,
        figure=figures.match_map(match, palette, names=titles),
        alt=f"Heatmap: {title.lower()}, similarity of those of {names[layer_id]} in both models",
        note=(
            f"{note[0]}; the assignment that makes the most of all. "
            f"{'' if many else 'Dot: matched. '}Chance: {note[1]}{empty}{depth}"
            f"{ZOOM if many else ''}"
        ),
    )


def _of_layer(found: MatchedTraces | MatchedModels, layer_id: int, names: LayerNames) -> str:
    match = found.matches[layer_id]
    if np.isnan(match.chance):
        return f"Of {names[layer_id]} too few are known to say what chance reaches."
    return (
        f"Of {names[layer_id]}: {match.matched} of {len(match.other_E)}, where chance reaches "
        f"{match.chance:.2f}."
    )
