"""Maps of experts as files: the one in use, and the plan as other engines read it."""

import json
from dataclasses import replace
from pathlib import Path

from analysis.placement.maps import Placement
from analysis.queries import TraceInfo
from app import kept
from app.studies.placement import Planned, Settings
from data.exports.expert_location import expert_location
from data.exports.expert_map import expert_map
from data.placement_files import read_placement

SGLANG, VLLM_ASCEND = "sglang", "vllm-ascend"
FORMS = {SGLANG: "SGLang", VLLM_ASCEND: "vLLM Ascend"}


def read_current(path: Path, info: TraceInfo, settings: Settings) -> Placement:
    """The map in use. ValueError: it is none of this trace's model, or of other GPUs."""
    numbers = kept.layer_numbers(info.config, info.num_layers)
    experts_LP, devices = read_placement(path, info.layers, numbers)
    if devices not in (None, settings.gpus):
        raise ValueError(
            f"{path.name} is of {devices} devices, and {settings.gpus} GPUs were given"
        )
    redundant = experts_LP.shape[1] - info.num_experts
    if redundant < 0:
        raise ValueError(
            f"{path.name} has {experts_LP.shape[1]} places in a layer, the trace has "
            f"{info.num_experts} experts; give the map of its model"
        )
    return Placement(experts_LP, replace(settings, redundant=redundant).cluster(info))


def require_file(info: TraceInfo) -> None:
    """ValueError: the trace lacks layers of the model, of which an engine's map would tell."""
    kept.require_whole_model(info.config, info.num_layers, what="a map")


def map_file(of: Planned, info: TraceInfo, form: str) -> bytes:
    """The plan as another engine reads it: `form` is one of FORMS. ValueError: the trace lacks
    layers."""
    require_file(info)
    experts_LP = of.plan.experts_LP
    if form == SGLANG:
        value: object = expert_location(info.layers, experts_LP)
    else:
        value = expert_map(info.layers, of.settings.gpus, experts_LP)
    return json.dumps(value, allow_nan=False).encode()
