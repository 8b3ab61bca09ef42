"""How similar the experts of a model are: measured once, kept beside its weights, read without
torch.

L = MoE layers, E = routed experts, T = tokens.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import redundancy
from analysis.redundancy import SIMILARITIES
from app.studies.reader import Tracer
from data.npz import read_arrays, read_shape
from data.outputs import partial_path, require_unfinished
from data.prompts import read_documents
from data.routing import UNLABELLED, Document

if TYPE_CHECKING:
    from model.encoded import Encoded
    from model.readable import MoELayer, ReadableModel
    from model.recording import ExpertInput

FILE = "redundancy.npz"
CALIBRATION_TOKENS = 8_192  # of which routing and saliency are counted
OUTPUT_TOKENS = 1_024  # of these, for which every expert computes
ALIGNABLE = 5e11  # experts² times neurons³ of a layer: more takes hours, and is NaN
NULL_EXPERTS = 8  # of random weights
LARGEST = 2**27  # pairs of experts in all layers, of a file that says how many it has
NUMBERS = ("num_tokens", "top_k", "parameters", "expert_parameters")
SEED = 0

Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redundancy:
    """By name of SIMILARITIES: [L, E, E], and what unrelated experts give [L]. NaN: a layer has
    fewer experts, or there is nothing to compare."""

    model_sha256: str
    outputs: np.ndarray
    weights: np.ndarray
    aligned: np.ndarray
    routing: np.ndarray
    null_outputs: np.ndarray
    null_weights: np.ndarray
    null_aligned: np.ndarray
    null_routing: np.ndarray
    tokens_LE: np.ndarray  # NaN where a layer has no such expert
    saliency_LE: np.ndarray
    num_tokens: int
    top_k: int
    parameters: int  # of the whole model
    expert_parameters: int  # of one routed expert

    @property
    def experts_by_layer(self) -> np.ndarray:
        return np.isfinite(self.tokens_LE).sum(1)

    def similarity(self, by: str) -> np.ndarray:
        if by not in SIMILARITIES:
            raise ValueError(f"{by!r} is not one of {', '.join(SIMILARITIES)}")
        return getattr(self, by)

    def null(self, by: str) -> np.ndarray:
        return getattr(self, f"null_{by}")

    def highest(self, by: str) -> tuple[float, int]:
        """Of two different experts, and in which layer."""
        pairs_LEE = np.nan_to_num(self.similarity(by), nan=-1.0)
        pairs_LEE[:, np.arange(pairs_LEE.shape[1]), np.arange(pairs_LEE.shape[1])] = -1.0
        layer = int(pairs_LEE.max((1, 2)).argmax())
        return float(pairs_LEE[layer].max()), layer


def calibration(model: "ReadableModel", path: Path, *, seed: int = SEED) -> list["Encoded"]:
    """Texts of the file in seeded order, one of each domain in turn, to CALIBRATION_TOKENS."""
    from model.encoded import encoded_documents, forward_room

    drawn = _in_turn(list(read_documents(path)), seed)
    chosen: list[Encoded] = []
    tokens = 0
    for item in encoded_documents(model, drawn, room=forward_room(model)):
        if item.token_ids:
            chosen.append(item)
            tokens += len(item.token_ids)
        if tokens >= CALIBRATION_TOKENS:
            break
    if not tokens:
        raise ValueError(f"{path.name} has no tokens to calibrate with; give a file of texts")
    return chosen


def _in_turn(documents: Sequence[Document], seed: int) -> Iterator[Document]:
    by_domain: dict[str, list[Document]] = {}
    for place in np.random.default_rng(seed).permutation(len(documents)).tolist():
        document = documents[place]
        by_domain.setdefault(document.domain or UNLABELLED, []).append(document)
    longest = max(map(len, by_domain.values()), default=0)
    for turn in range(longest):
        yield from (group[turn] for group in by_domain.values() if turn < len(group))


def measure(
    tracer: Tracer,
    documents: Sequence["Encoded"],
    *,
    on_progress: Advance = lambda done, total: None,
    seed: int = SEED,
) -> Redundancy:
    """Progress is layers done and in all."""
    import torch

    from model.expert_inputs import expert_inputs
    from model.fingerprint import model_sha256
    from model.recording import ExpertInput

    require_not_pruned(tracer)
    batches = [of_layers for _, of_layers in expert_inputs(tracer.model, documents)]
    layers = tracer.model.moe_layers()
    most = max(layer.num_experts for layer in layers)
    columns: dict[str, list[np.ndarray | float]] = {}
    for layer_id, layer in enumerate(layers):
        neurons_EFPD = layer.neurons()
        parts = zip(*(of_layers[layer_id] for of_layers in batches), strict=True)
        given = ExpertInput(*map(torch.cat, parts))
        similar = _of_weights(neurons_EFPD, seed) | _of_tokens(layer, given, seed)
        for name, value in similar.items():
            columns.setdefault(name, []).append(_padded(value, most))
        on_progress(layer_id + 1, len(layers))
    arrays = {name: np.array(values, np.float32) for name, values in columns.items()}
    return Redundancy(
        model_sha256=model_sha256(tracer.folder),
        num_tokens=len(given.x_TD),
        top_k=max(layer.k_range[1] for layer in layers),
        parameters=tracer.model.description().parameters,
        expert_parameters=neurons_EFPD[0].size,
        **arrays,
    )


def require_not_pruned(tracer: Tracer) -> None:
    """Of ours: several experts that run the same weights have none of their own to compare."""
    from model.config_file import load_config
    from model.fingerprint import is_transformers

    if not is_transformers(tracer.folder) and load_config(tracer.folder).expert_leaders is not None:
        raise ValueError("the model has already been pruned; use the original")


def _padded(value: np.ndarray | float, most: int) -> np.ndarray:
    """[], [E] or [E, E] with NaN up to the most experts of a layer."""
    array = np.asarray(value, np.float32)
    padded = np.full((most,) * array.ndim, np.nan, np.float32)
    padded[tuple(map(slice, array.shape))] = array
    return padded


def _of_weights(neurons_EFPD: np.ndarray, seed: int) -> dict[str, np.ndarray | float]:
    shape = (NULL_EXPERTS, *neurons_EFPD.shape[1:])
    random_EFPD = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    similar: dict[str, np.ndarray | float] = {
        "weights": redundancy.weight_similarity(neurons_EFPD),
        "aligned": np.full((len(neurons_EFPD),) * 2, np.nan),
        "null_weights": _mean_pair(redundancy.weight_similarity(random_EFPD)),
        "null_aligned": np.nan,
    }
    if len(neurons_EFPD) ** 2 * float(neurons_EFPD.shape[1]) ** 3 <= ALIGNABLE:
        similar["aligned"] = redundancy.aligned_similarity(neurons_EFPD)
        similar["null_aligned"] = _mean_pair(redundancy.aligned_similarity(random_EFPD))
    return similar


def _of_tokens(layer: "MoELayer", given: "ExpertInput", seed: int) -> dict[str, np.ndarray | float]:
    import torch

    from model.expert_inputs import chosen_norms, expert_outputs
    from model.losses import by_expert

    x_TD, ids_TK, weights_TK = given
    num_experts = layer.num_experts
    weights_TK = weights_TK.float()
    chosen_TE = by_expert(torch.ones_like(weights_TK), ids_TK, num_experts).cpu().numpy()
    norms_TK = chosen_norms(layer, given).float()
    saliency_E = by_expert(weights_TK * norms_TK, ids_TK, num_experts).sum(0)
    sample = np.random.default_rng(seed).permutation(len(x_TD))[:OUTPUT_TOKENS]
    outputs = expert_outputs(layer, x_TD[torch.from_numpy(sample).to(x_TD.device)])
    outputs_ETD = outputs.float().cpu().numpy()
    return {
        "outputs": redundancy.output_similarity(outputs_ETD),
        "null_outputs": _mean_pair(redundancy.output_similarity_null(outputs_ETD, seed=seed)),
        "routing": redundancy.routing_similarity(chosen_TE),
        "null_routing": redundancy.routing_similarity_null(num_experts),
        "tokens_LE": chosen_TE.sum(0),
        "saliency_LE": (saliency_E / len(x_TD)).cpu().numpy(),
    }


def _mean_pair(similarity_EE: np.ndarray) -> float:
    return float(np.nanmean(similarity_EE[~np.eye(len(similarity_EE), dtype=bool)]))


def store(folder: Path, measured: Redundancy) -> None:
    partial = partial_path(folder / FILE)
    require_unfinished(partial)
    with partial.open("wb") as file:
        np.savez_compressed(file, **asdict(measured))
    os.replace(partial, folder / FILE)


def stored(folder: Path) -> Redundancy | None:
    """What was measured of the weights in the folder; None if nothing was, or of other weights."""
    from model.fingerprint import model_sha256

    path = folder / FILE
    if not path.is_file():
        return None
    layers, experts = _sizes(folder)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SIMILARITIES, (layers, experts, experts))
    shapes |= {f"null_{name}": (layers,) for name in SIMILARITIES}
    shapes |= dict.fromkeys(("tokens_LE", "saliency_LE"), (layers, experts))
    try:
        arrays = read_arrays(path, shapes | dict.fromkeys((*NUMBERS, "model_sha256"), ()))
        numbers = {name: int(arrays.pop(name)) for name in NUMBERS}
        model = str(arrays.pop("model_sha256"))
        measured: dict[str, Any] = {**numbers, **arrays}
        known = Redundancy(model_sha256=model, **measured)
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged; delete it and it will be measured again") from error
    return known if known.model_sha256 == model_sha256(folder) else None


def _sizes(folder: Path) -> tuple[int, int]:
    """MoE layers, and the most experts of one: of ours as the config has it."""
    from model.config_file import load_config
    from model.fingerprint import is_transformers

    if not is_transformers(folder):
        config = load_config(folder)
        return config.num_moe_layers, config.num_experts
    shape = read_shape(folder / FILE, "tokens_LE")
    if len(shape) != 2 or shape[0] * shape[1] ** 2 > LARGEST:
        raise ValueError(f"{folder / FILE} is damaged; delete it and it will be measured again")
    return shape
