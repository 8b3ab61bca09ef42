"""How similar the experts of a model are, how many a threshold would take, and what that costs."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.redundancy import SIMILARITIES, leaders, pair_rows
from app.studies.compression.rule import THRESHOLD, Rule
from app.studies.redundancy import Redundancy
from app.views.redundancy.figures import cost_lines, left_lines, similarity_map
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

STEPS = np.round(np.linspace(0, 1, 101), 2)
MEANINGS = {
    "outputs": (
        "Cosine of the outputs of two experts for the same tokens, whether the tokens chose them "
        "or not."
    ),
    "weights": "Cosine of all weights as stored.",
    "aligned": (
        "Cosine of all weights after the best reordering and sign changes of the inner neurons."
    ),
    "routing": (
        "Correlation of being chosen: it says which experts are chosen together, not which are "
        "similar."
    ),
}


def panels(
    similar: Redundancy,
    palette: Palette,
    *,
    by: str = SIMILARITIES[0],
    layer_id: int = 0,
    threshold: float = THRESHOLD,
) -> list[Panel]:
    """The similarity of a layer's experts, and the experts left at every threshold."""
    return [
        similarity(similar, palette, by=by, layer_id=layer_id, threshold=threshold),
        experts_left(similar, palette, threshold=threshold),
    ]


def similarity(
    similar: Redundancy, palette: Palette, *, by: str, layer_id: int, threshold: float
) -> Panel:
    experts = similar.experts_by_layer[layer_id]
    similarity_EE = similar.similarity(by)[layer_id, :experts, :experts]
    tokens_E = similar.tokens_LE[layer_id, :experts]
    leader_E = leaders(similarity_EE, tokens_E, threshold=threshold)
    null = float(similar.null(by)[layer_id])
    pairs = pair_table(similar, by, layer_id, leader_E)
    return Panel(
        name="expert_similarity",
        answer=_answer(similar, by, threshold=threshold),
        figure=similarity_map(
            similarity_EE, palette, leader_E=leader_E, null=null, threshold=threshold
        ),
        alt=(
            f"Heatmap: similarity of each pair of experts of layer {layer_id} by {by}, with their "
            "tree"
        ),
        note=(
            f"{MEANINGS[by]} Experts are ordered by their tree (average linkage). Dot: at this "
            "threshold both would run the same weights. No colour: as similar as unrelated "
            "experts; the strongest colour: the threshold. Measured on "
            f"{similar.num_tokens:,} held-out tokens."
        ),
        preview_title="All pairs of the layer, the most similar first",
        preview=pairs,
        table=pairs,
    )


def experts_left(similar: Redundancy, palette: Palette, *, threshold: float) -> Panel:
    table = left_table(similar.model_sha256, similar)
    return Panel(
        name="experts_left",
        figure=left_lines(table, palette, threshold=threshold),
        alt="Lines: experts left in the whole model at every threshold, for each similarity",
        note=(
            "All layers together. Dotted: the threshold chosen above. A line ends where a layer "
            f"would keep fewer experts than the {similar.top_k} that a token chooses."
        ),
        table=table,
    )


def costs(similar: Redundancy, table: pd.DataFrame, palette: Palette, *, domain: str) -> Panel:
    """Of models with fewer experts, on the texts of a domain or on all. table: as `prune` writes
    it beside the weights."""
    rows, most = table[table.domain == domain], int(similar.experts_by_layer.sum())
    removed = rows[rows.experts < most]
    return Panel(
        name="compression",
        figure=cost_lines(rows, palette, most=most),
        alt="Increase in bits per byte against the share of experts removed, for every rule",
        answer="" if removed.empty else cost_answer(removed, most=most),
        note=(
            f"{_bars(table)} Solid: of experts that are alike, the most used is kept; dotted: the "
            "mean of them, weighted by use (or random removal). "
            "Saliency removes the least salient experts and random equally many at random; the "
            "gate then chooses others. The thresholds of the similarities were set to remove "
            "equally many."
        ),
        preview=rows if removed.empty else removed,
        table=table,
    )


def _bars(table: pd.DataFrame) -> str:
    if "n_groups" in table:
        return "Bars: paired 95 % intervals over groups of texts."
    return (
        "Bars: paired 95 % bootstrap intervals over texts; this result is of an earlier version, "
        "which did not group them."
    )


@st.cache_data(show_spinner=False, max_entries=16)
def left_table(model_sha256: str, _similar: Redundancy) -> pd.DataFrame:
    """by, threshold, experts: leaders in all layers; none where a layer would keep too few."""
    rows = []
    for by in SIMILARITIES:
        for threshold in STEPS.tolist():
            leader_LE = Rule(by=by, threshold=threshold).leaders(_similar)
            standing_L = _standing(leader_LE)
            enough = standing_L.min() >= _similar.top_k
            experts = int(standing_L.sum()) if enough else None
            rows.append({"by": by, "threshold": threshold, "experts": experts})
    return pd.DataFrame(rows).astype({"experts": "Int64"})


def _standing(leader_LE: np.ndarray) -> np.ndarray:
    """Experts of each layer that keep weights of their own."""
    return (leader_LE == np.arange(leader_LE.shape[1])).sum(1)


def pair_table(similar: Redundancy, by: str, layer_id: int, leader_E: np.ndarray) -> pd.DataFrame:
    """Every pair of the layer, the most similar first; an empty leader: each runs its own
    weights."""
    experts = len(leader_E)
    similarity_EE = similar.similarity(by)[layer_id, :experts, :experts]
    frame = pd.DataFrame(pair_rows(similarity_EE, leader_E))
    frame.insert(0, "layer_id", layer_id)
    frame = frame.assign(null=float(similar.null(by)[layer_id])).astype({"leader": "Int64"})
    return frame.sort_values("similarity", ascending=False, ignore_index=True)


def headline(similar: Redundancy, by: str, *, threshold: float) -> list[tuple[str, str, str]]:
    leader_LE = Rule(by=by, threshold=threshold).leaders(similar)
    stand, experts = int(_standing(leader_LE).sum()), int(similar.experts_by_layer.sum())
    saved = (experts - stand) * similar.expert_parameters
    highest, layer = similar.highest(by)
    return [
        ("Experts left", f"{stand:,}", f"of {experts:,}"),
        ("Parameters saved", f"{saved / 1e6:.2f} M", f"of {similar.parameters / 1e6:.1f} M"),
        ("Highest similarity", f"{highest:.3f}", f"in layer {layer}"),
        ("Unrelated experts", f"{similar.null(by).mean():.3f}", "mean over layers"),
    ]


def _answer(similar: Redundancy, by: str, *, threshold: float) -> str:
    leader_LE = Rule(by=by, threshold=threshold).leaders(similar)
    standing_L = _standing(leader_LE)
    experts = int(similar.experts_by_layer.sum())
    removed = experts - int(standing_L.sum())
    highest, layer = similar.highest(by)
    closest = (
        f"the most similar pair is at {highest:.3f} (layer {layer}), unrelated experts are at "
        f"{similar.null(by).mean():.3f}"
    )
    if not removed:
        return (
            f"By {by}, no two experts reach {threshold:.2f}, so none would be removed: {closest}."
        )
    saved = removed * similar.expert_parameters / similar.parameters
    text = (
        f"At a threshold of {threshold:.2f} by {by}, {removed:,} of {experts:,} experts "
        f"would run another's weights, which saves {saved:.1%} of the model's parameters; "
        f"{closest}."
    )
    if standing_L.min() < similar.top_k:
        text += (
            f" That is too many: layer {standing_L.argmin()} would keep {standing_L.min()} "
            f"experts, but a token chooses {similar.top_k}."
        )
    return text


def cost_answer(removed: pd.DataFrame, *, most: int) -> str:
    """Of the rules that take the same share of the experts, the cheapest and the most expensive."""
    equal = (
        removed[removed.share == removed.share.min()] if removed.share.notna().any() else removed
    )
    ordered = equal.sort_values("change")
    first, last = ordered.iloc[0], ordered.iloc[-1]
    text = (
        f"With {first.experts:,} of {most:,} experts left, the cheapest rule is {first.by}, "
        f"{first.how}: {first.change:+.3f} bits per byte on top of {first.before:.3f}"
    )
    if len(equal) == 1:
        return f"{text}."
    return f"{text}; the most expensive is {last.by}, {last.how}: {last.change:+.3f}."
