"""What the colours of a map mean. P = points."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.trace import Trace
from app.views.domain_clusters import token_values
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from app.views.domain_clusters.parcels import Parcel, packed
from app.views.shared.layer_names import names_of
from app.views.shared.theme import Palette, domain_colors, shade, visible
from data.routing import PHASES

NOISE = -1
OF = {  # what points can be coloured by
    "tokens": ("domain", "group", "cluster", "expert", "entropy", "loss", "phase", "distance"),
    "prompts": ("domain", "group", "cluster", "expert", "entropy", "loss", "distance"),
    "experts": ("domain", "cluster", "layer", "load", "distance"),
}
OF_A_LAYER = ("expert", "entropy")
STEPS = 255  # of an amount; one more is unknown
ENDS = 0.01  # of the points have an amount beyond either end of the ramp
LISTED = 2000  # groups with a colour and an entry of their own: those of most points
TURN = 0.618034  # of the colour circle from one expert to the next


@dataclass(frozen=True, slots=True)
class Category:
    """Which entry a point has; entries in the order shown."""

    code_P: np.ndarray
    names: Sequence[str]
    colors: Sequence[str]


@st.cache_resource(max_entries=12, show_spinner=False, hash_funcs=BY_KEY)
def colours_parcel(
    trace: Trace, points: MapPoints, by: str, layer_id: int, palette: Palette
) -> Parcel:
    """`by`: one of OF[points.what]."""
    title = by
    if by in OF_A_LAYER:
        title = {"expert": "first choice", "entropy": "gate entropy"}[by]
        if points.what == "prompts" and by == "expert":
            title = "most chosen expert"
        title = f"{title}, {names_of(trace).hover(layer_id)}"
    title += " (nats)" if by in ("entropy", "loss") else ""
    if by == "group" and points.frame.unit.nunique() > LISTED:
        title = f"group: the {LISTED:,} largest, others grey"
    if amount_P := _amount(trace, points, by, layer_id):
        return _amount_parcel(title, amount_P[0], palette)
    return _category_parcel(title, _category(trace, points, by, layer_id, palette))


def _amount(
    trace: Trace, points: MapPoints, by: str, layer_id: int
) -> tuple[np.ndarray] | tuple[()]:
    """Empty: it is none."""
    if by == "entropy":
        return (token_values.entropies(trace, points, layer_id),)
    if by == "loss":
        return (token_values.losses(trace, points),)
    if by == "distance":
        return (points.frame.distance.to_numpy(float),)
    if by == "load":
        frame = points.frame
        mean = frame.groupby("layer_id").tokens.transform("mean")
        return ((frame.tokens / mean).to_numpy(float),)
    return ()


def _category(
    trace: Trace, points: MapPoints, by: str, layer_id: int, palette: Palette
) -> Category:
    frame = points.frame
    if by == "domain":
        return _of_domains(points, palette)
    if by == "group":
        return _of_groups(frame.unit.to_numpy(), palette)
    if by == "cluster":
        code_P = frame.cluster.to_numpy().astype(np.int64)
        count = int(code_P.max(initial=NOISE)) + 1
        colors = many_colors(count, palette)
        named = [f"cluster {place}" for place in range(count)]
        return _with_none(code_P, named, colors, "no cluster", palette)
    if by == "layer":
        names = [names_of(trace).hover(layer) for layer in trace.layers]
        return Category(frame.layer_id.to_numpy(), names, _ramp(len(names), palette))
    if by == "phase":
        code_P = token_values.phases(trace, points)
        colors = [palette.distinct[0], palette.distinct[1]]
        return _with_none(code_P, list(PHASES), colors, "unknown", palette)
    expert_P = token_values.experts(trace, points, layer_id).astype(np.int64)
    count = trace.info.layers[layer_id].num_experts
    names = [f"expert {expert}" for expert in range(count)]
    return _with_none(expert_P, names, many_colors(count, palette), "none", palette)


def _of_domains(points: MapPoints, palette: Palette) -> Category:
    colors = domain_colors(points.domains, palette)
    shown = sorted(points.domains, key=list(colors).index)
    place_D = np.array([shown.index(domain) for domain in points.domains])
    code_P = place_D[points.frame.domain.cat.codes.to_numpy()]
    return Category(code_P, [visible(name) for name in shown], [colors[name] for name in shown])


def _of_groups(unit_P: np.ndarray, palette: Palette) -> Category:
    """Those of most points; all others have one colour."""
    unit_U, place_P = np.unique(unit_P, return_inverse=True)
    size_U = np.bincount(place_P)
    largest = np.argsort(-size_U, kind="stable")[:LISTED]
    rank_U = np.full(len(unit_U), len(largest))
    rank_U[largest] = np.arange(len(largest))
    names = [f"group of text {unit}" for unit in unit_U[largest]]
    colors = many_colors(len(names), palette)
    return _with_none(rank_U[place_P], names, colors, "other groups", palette)


def _with_none(
    code_P: np.ndarray, names: list[str], colors: Sequence[str], rest: str, palette: Palette
) -> Category:
    """What is outside of the names has an entry of its own, the last."""
    outside_P = (code_P < 0) | (code_P >= len(names))
    code_P = np.where(outside_P, len(names), code_P)
    return Category(code_P, [*names, rest], [*colors, palette.neutral])


def many_colors(count: int, palette: Palette) -> list[str]:
    """Those of the palette first, then others all round the colour circle."""
    light = 0.45 if palette.ground > "#8" else 0.66
    made = list(palette.distinct[:count])
    for place in range(len(made), count):
        parts = colorsys.hls_to_rgb(place * TURN % 1, light + 0.09 * (place % 3 - 1), 0.55)
        made.append("#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in parts)))
    return made


def _ramp(count: int, palette: Palette) -> list[str]:
    return [shade(palette.sequential[1:], place / max(count - 1, 1)) for place in range(count)]


def _category_parcel(title: str, of: Category) -> Parcel:
    points_E = np.bincount(of.code_P, minlength=len(of.names))
    entries = [
        {"name": name, "count": int(points), "share": _share(points / max(len(of.code_P), 1))}
        for name, points in zip(of.names, points_E, strict=True)
    ]
    told = {"title": title, "amount": False, "entries": entries, "colours": list(of.colors)}
    kind = np.uint8 if len(of.names) <= 256 else np.uint16
    return packed("colours", told, {"code": of.code_P.astype(kind)})


def _share(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _amount_parcel(title: str, amount_P: np.ndarray, palette: Palette) -> Parcel:
    """From the least to the most, without the outermost."""
    known_P = np.isfinite(amount_P)
    if not known_P.any():
        title += ": not in this trace"
    low, high = np.quantile(amount_P[known_P], [ENDS, 1 - ENDS]) if known_P.any() else (0, 1)
    scaled_P = (amount_P - low) / max(high - low, 1e-12) * (STEPS - 1)
    code_P = np.where(known_P, np.clip(np.nan_to_num(scaled_P), 0, STEPS - 1), STEPS)
    ramp = _ramp(STEPS, palette)
    told = {
        "title": title,
        "amount": True,
        "entries": [],
        "steps": STEPS,
        "low": float(low),
        "high": float(high),
        "ticks": [f"{at:.2f}" for at in (low, (low + high) / 2, high) if known_P.any()],
        "ramp": list(palette.sequential[1:]) if known_P.any() else [],
        "colours": [*ramp, palette.neutral],
        "unknown": int((~known_P).sum()),
    }
    return packed("colours", told, {"code": np.rint(code_P).astype(np.uint8)})
