"""Experts matched by weights, where both models are here: by a job, once it is asked for."""

from functools import partial

import streamlit as st

from analysis.expert_bytes import expert_size
from app.jobs import expert_weights
from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.model_folders import models_of
from app.studies.expert_weights import MatchedModels, TracedModel
from app.studies.matched import MatchedTraces
from app.trace import Trace
from app.views.compare import matching_panels
from app.views.shared import controls, layer_chooser, progress
from app.views.shared.drawing import draw
from app.views.shared.layer_names import names_of

BY_ROUTING = "Above, experts are matched by routing, as any two traces of the same texts allow. "


def draw_by_weights(
    first: Trace, second: Trace, routed: MatchedTraces | None, *, layer_id: int | None = None
) -> None:
    """And which way experts are matched. layer_id: whose; None: it is asked for here."""
    found = None
    if lacking := _lacking(first, second):
        controls.note(f"{BY_ROUTING if routed else ''}{lacking}")
    else:
        found = _matched(first, second, said=BY_ROUTING if routed else "")
    if found is not None:
        titles, names = (first.name, second.name), names_of(first)
        palette = controls.palette()
        if layer_id is None:
            layer_id = layer_chooser.layer_of(first)
        panel = matching_panels.by_weights(
            found, palette, routed, layer_id=layer_id, titles=titles, names=names
        )
        draw(panel, subject=f"{first.name} and {second.name}")


def _lacking(first: Trace, second: Trace) -> str:
    """Why experts cannot be matched by weights; empty: they can, as far as configs tell."""
    shas = [side.info.model_sha256 for side in (first, second)]
    if shas[0] == shas[1] != "":
        return "Both are of the same weights: by these every expert corresponds to itself."
    for side in (first, second):
        if not side.info.model_sha256:
            return (
                f"By weights they cannot be matched here: {side.name} does not say which weights "
                "made it. `routescope compare` takes the folders of both models with --model."
            )
        if next(models_of(side.info), None) is None:
            return (
                f"By weights they cannot be matched: the model of {side.name} is not here. Put its "
                "folder among the models (ROUTESCOPE_MODELS)."
            )
    sizes = [expert_size(side.info) for side in (first, second)]
    if None not in sizes and sizes[0] != sizes[1]:
        said = [f"{of[0]:,} neurons of {of[1]:,} inputs" for of in sizes if of]
        return (
            f"By weights they cannot be matched: an expert of {first.name} has {said[0]}, one of "
            f"{second.name} {said[1]}, and only experts of one size can be compared."
        )
    return ""


def _matched(first: Trace, second: Trace, *, said: str) -> MatchedModels | None:
    """None while nobody has asked for it, and while it runs."""
    key = f"expert_weights|{first.identity}|{second.identity}"
    job = all_jobs().get(key)
    if job is not None and (found := job.result_of(MatchedModels)) is not None:
        return found
    if job is not None and job.active:
        progress.follow(job, key="expert_weights")
        return None
    if job is not None:
        progress.outcome(job, failed="Experts could not be matched by weights.")
    controls.note(f"{said}Models with the configs of both are here: their weights can tell, too.")
    if st.button("Match experts by weights", type="primary"):
        all_jobs().forget(key)
        models = [
            TracedModel(side.name, side.info, tuple(models_of(side.info)))
            for side in (first, second)
        ]
        place = Place("compare", {"trace": first.name, "traces": second.name, "look": "tokens"})
        work = partial(expert_weights.run, first=models[0], second=models[1])
        title = f"Matching experts of {first.name} and {second.name}"
        all_jobs().start(key, title, work, place=place)
        st.rerun()
    return None
