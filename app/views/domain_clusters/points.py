"""The points of a map: what one is, in words and numbers, and what all of them show."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import literal
from data.words import counted

UNTESTED = "no interval and no test: of other texts the map would be another"


def hover(points: pd.DataFrame, what: str, names: LayerNames = NUMBERED) -> list[str]:
    if what == "experts":
        rows = zip(points.layer_id, points.expert_id, points.domain, points.tokens, strict=True)
        return [
            f"{names.hover(layer)}, expert {expert}<br>{literal(domain)}, {tokens:,} choices"
            for layer, expert, domain, tokens in rows
        ]
    return [
        f"<b>{literal(text[:60])}</b><br>{literal(domain)}, text {doc_id}"
        for text, domain, doc_id in zip(points.text, points.domain, points.doc_id, strict=True)
    ]


def clusters_answer(what: str, parameters: Mapping[str, Any]) -> str:
    points = parameters["points"]
    if parameters["method"] == "svd":
        if "texts" in parameters:
            shown = counted(points, what[:-1], what)
            return (
                f"A first look at {shown}: the main directions in which their routing "
                "differs. The map of neighbourhoods, with its clusters, is still to come."
            )
        return (
            f"The main directions in which the routing of {points:,} {what} differs: they are too "
            "few, or too much alike, for a map of neighbourhoods with clusters."
        )
    text = f"{points:,} {what} fall into {parameters['clusters']} clusters by their routing alone"
    agreement = parameters.get("agreement")
    if not agreement:
        return f"{text}."
    over = "experts" if what == "experts" else f"the {parameters['groups']:,} groups of texts"
    return (
        f"{text}; {agreement['purity']:.0%} share their cluster's most frequent domain, against "
        f"{agreement['shuffled_purity']:.0%} with domains shuffled over {over} (NMI "
        f"{agreement['nmi']:.2f} against {agreement['shuffled_nmi']:.2f})."
    )


def map_note(what: str, parameters: Mapping[str, Any], *, shown: int, file: str) -> str:
    if parameters["method"] == "svd":
        return _directions_note(what, parameters, shown=shown)
    noise = parameters.get("noise_share")
    left_out = f" {noise:.0%} are in no cluster." if noise else ""
    labels = f" {_labels_note(parameters)}" if what == "experts" else ""
    points, all_points = parameters["points"], parameters["points_in_trace"]
    here = f" The map has {points:,}, all of them in {file}." if shown < points else ""
    return (
        f"Showing {shown:,} of {all_points:,} {what}, UMAP after truncated SVD, seed "
        f"{parameters['seed']}.{here}"
        f"{left_out} Only neighbourhoods mean something here; the distances between clusters and "
        f"the sizes of clusters do not.{labels}"
    )


def _directions_note(what: str, parameters: Mapping[str, Any], *, shown: int) -> str:
    read = ""
    if "texts" in parameters and shown < parameters["points_in_trace"]:
        read = {
            "tokens": ": those with which {texts:,} texts begin, as many of every domain",
            "prompts": ", as many of every domain",
            "experts": ", placed by {texts:,} texts, as many of every domain",
        }[what].format(texts=parameters["texts"])
    labels = f" {_labels_note(parameters)}" if what == "experts" else ""
    return (
        f"Showing {shown:,} of {parameters['points_in_trace']:,} {what}{read}. Components 2 and 3 "
        f"of a truncated SVD of their routing, seed {parameters['seed']}; the first is near the "
        f"mean. Random texts would show some structure too.{labels}"
    )


def distance_note(parameters: Mapping[str, Any]) -> str:
    if parameters["method"] == "svd":
        return "Distances come with a map of neighbourhoods."
    return (
        "Colour is the distance to the nearest other point shown, before the map was drawn: what "
        "is far from all has no neighbourhood, wherever it lies here."
    )


def _labels_note(parameters: Mapping[str, Any]) -> str:
    """Which texts gave the experts of a map their domains."""
    if parameters["groups"] is None:
        return (
            "A domain has one group of texts only, so places and domains come from the same texts "
            "and their agreement is not computed."
        )
    return "Domains come from one half of the texts, places and clusters from the other."


def agreement_table(parameters: Mapping[str, Any]) -> pd.DataFrame:
    """One row per measure; docs/metrics.md says why low, high, p and q are empty."""
    agreement, measures = parameters["agreement"], ("nmi", "ari", "purity")
    rows = {
        "measure": ["NMI", "ARI", "purity"],
        "clusters": [agreement[name] for name in measures],
        "domains_shuffled": [agreement[f"shuffled_{name}"] for name in measures],
        **dict.fromkeys(("low", "high", "p", "q")),
        "points": agreement["points"],
        "shuffled_over": parameters["groups"],
        "note": UNTESTED,
    }
    return pd.DataFrame(rows)
