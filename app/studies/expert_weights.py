"""Which experts of two models correspond by their weights. torch is imported when they are read.

E = routed experts, F = inner neurons of one, W = weights of a neuron, L = MoE layers of a trace.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.matching.experts import (
    LayerMatch,
    corresponding_layers,
    match_by_weights,
    match_table,
    matching_agreement,
)
from analysis.queries import TraceInfo
from app.kept import layer_numbers
from app.studies.matched import MatchedTraces
from app.studies.reader import Tracer, load_tracer

Load = Callable[[Path], Tracer]
Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TracedModel:
    """The model of a trace, in one of the folders."""

    trace: str  # its name
    info: TraceInfo
    folders: tuple[Path, ...]

    def folder(self) -> Path:
        """With the weights that made the trace; the only one, where a trace names none.

        ValueError: none holds them.
        """
        from model.fingerprint import model_sha256

        if not self.info.model_sha256 and len(self.folders) == 1:
            return self.folders[0]
        found = []
        for folder in self.folders:
            try:
                if model_sha256(folder) == self.info.model_sha256:
                    return folder
                found.append(f"{folder} holds other weights")
            except ValueError as error:  # a copy that is not complete, say
                found.append(str(error))
        raise ValueError(
            f"{self.trace} was made by model {self.info.model_sha256[:8]}, which was not found: "
            f"{'; '.join(found)}"
        )

    def layers(self) -> tuple[int, ...]:
        """The layers of the trace, as the model counts them."""
        count = self.info.num_layers
        return layer_numbers(self.info.config, count) or tuple(range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedModels:
    matches: tuple[LayerMatch, ...]  # of the layers of the first trace
    layer_L: np.ndarray  # of the second, that corresponds to each of the first

    def match_table(self) -> pd.DataFrame:
        return match_table(self.matches, self.layer_L)

    def as_json(self, routed: MatchedTraces | None) -> dict[str, object]:
        return {
            "experts": sum(len(match.other_E) for match in self.matches),
            "matched": sum(match.matched for match in self.matches),
            "same_number": same_numbers(self.matches),
            "as_by_routing": None
            if routed is None
            else asdict(matching_agreement(routed.matches, self.matches)),
        }

    def in_words(self, routed: MatchedTraces | None) -> str:
        if all(np.isnan(match.chance) for match in self.matches):
            return "Layers have too few experts to say by weights which of them correspond."
        said = f"By weights, {counterparts(self.matches)}."
        if routed is None:
            return said
        agreed = matching_agreement(routed.matches, self.matches)
        if not agreed.both:
            return f"{said} None of them is matched by routing too."
        return (
            f"{said} Of {agreed.both:,} experts that are matched by routing too, {agreed.same:,} "
            f"have the same counterpart both ways; by chance {agreed.chance:,.1f} would."
        )


def counterparts(matches: Sequence[LayerMatch]) -> str:
    """How many experts are matched, in words."""
    total = sum(len(match.other_E) for match in matches)
    matched, same = sum(match.matched for match in matches), same_numbers(matches)
    said = f"{matched:,} of {total:,} experts have a counterpart that chance does not reach"
    return said if same is None else f"{said}, {same:,} of them under the same number"


def same_numbers(matches: Sequence[LayerMatch]) -> int | None:
    """How many are matched with the expert of the same number; None: models differ in numbers."""
    if any(len(set(match.similarity_EF.shape)) > 1 for match in matches):
        return None
    return sum(int((match.other_E == np.arange(len(match.other_E))).sum()) for match in matches)


def match_models(
    first: TracedModel,
    second: TracedModel,
    *,
    load: Load = load_tracer,
    on_progress: Advance = lambda done, total: None,
) -> MatchedModels:
    """Every layer of the first trace with the corresponding one of the second; models of ours or of
    transformers. ValueError: a folder holds other weights, or experts have other sizes."""
    models = first, second
    tracers = [load(folder) for folder in [model.folder() for model in models]]
    for model, tracer in zip(models, tracers, strict=True):
        _require_layers(model, tracer)
    numbers = [model.layers() for model in models]
    layer_L = corresponding_layers(len(numbers[0]), len(numbers[1]))
    matches = []
    for layer_id, other_id in enumerate(layer_L.tolist()):
        own = _experts(tracers[0], numbers[0][layer_id])
        matches.append(_match(own, _experts(tracers[1], numbers[1][other_id]), layer_id))
        on_progress(layer_id + 1, len(layer_L))
    return MatchedModels(matches=tuple(matches), layer_L=layer_L)


def _require_layers(model: TracedModel, tracer: Tracer) -> None:
    layers = tracer.model.moe_layers()
    sizes = [layer.num_experts for layer in layers]
    expected = model.info.layer_sizes.tolist()
    numbers = model.layers()
    if numbers[-1] >= len(sizes) or [sizes[number] for number in numbers] != expected:
        raise ValueError(
            f"{model.trace} has {len(expected)} MoE layers of {max(expected)} experts, the model "
            f"in {tracer.folder} {len(sizes)} of {max(sizes)}; give the model that made the trace"
        )


def _experts(tracer: Tracer, number: int) -> np.ndarray:
    """Weights of every expert of a layer [E, F, W]; NaN of one that has none of its own."""
    layer = tracer.model.moe_layers()[number]
    stored_SFPD = layer.neurons()
    stored_SFW = stored_SFPD.reshape(*stored_SFPD.shape[:2], -1)
    owners = _owners(tracer, number, len(stored_SFW))
    if len(owners) == layer.num_experts:
        return stored_SFW
    weights_EFW = np.full((layer.num_experts, *stored_SFW.shape[1:]), np.nan, np.float32)
    weights_EFW[owners] = stored_SFW
    return weights_EFW


def _owners(tracer: Tracer, number: int, stored: int) -> list[int]:
    """Whose weights are stored: of a pruned model of ours those that stand for others."""
    from model.config_file import load_config
    from model.fingerprint import is_transformers
    from model.moe import standing

    if not is_transformers(tracer.folder):
        leaders = load_config(tracer.folder).expert_leaders
        if leaders is not None:
            return standing(leaders[number])
    return list(range(stored))


def _match(weights_EFW: np.ndarray, other_EFW: np.ndarray, layer_id: int) -> LayerMatch:
    if weights_EFW.shape[1:] != other_EFW.shape[1:]:
        sizes = [f"{of.shape[1]:,} neurons of {of.shape[2]:,}" for of in (weights_EFW, other_EFW)]
        raise ValueError(
            f"an expert of layer {layer_id} has {sizes[0]} weights, one of the other model "
            f"{sizes[1]}: by weights only experts of one size can be compared; by routing those "
            "of any two models can"
        )
    return match_by_weights(*(of.reshape(len(of), -1) for of in (weights_EFW, other_EFW)))
