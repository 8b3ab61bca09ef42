"""What a smaller model costs: measured beside the one that it was made of, on the same texts.

T = tokens, L = MoE layers, E = routed experts, N = documents.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.comparison import change_table
from analysis.stability import Choices, changed_choices
from app.studies.reader import Tracer
from app.studies.scoring import text_nats
from data.routing import Document

Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Of one model on the texts."""

    nats_N: np.ndarray
    seconds: float  # to read them
    choices: Choices
    parameters: int
    experts_by_layer: list[int]  # with weights of their own
    bytes: int  # of the weights on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Pairs are of the model before and after."""

    changed_choices: dict[str, float | None]  # share of the gates' choices: estimate, low, high
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    experts_by_layer: tuple[list[int], list[int]]
    seconds: tuple[float, float]
    bits_per_byte: pd.DataFrame  # a row a domain: change_table


def compare(
    before: Tracer,
    after: Tracer,
    documents: Sequence[Document],
    *,
    seed: int,
    on_progress: Advance = lambda done, total: None,
) -> Costs:
    """Progress is documents read by both models and in all."""
    read, total = len(documents), 2 * len(documents)
    old = measure(before, documents, on_progress=lambda done: on_progress(done, total))
    new = measure(after, documents, on_progress=lambda done: on_progress(read + done, total))
    choices = under_original_ids(new.choices, after.folder, like=old.choices)
    return Costs(
        changed_choices=changed_choices(old.choices, choices, documents),
        parameters=(old.parameters, new.parameters),
        bytes=(old.bytes, new.bytes),
        experts_by_layer=(old.experts_by_layer, new.experts_by_layer),
        seconds=(round(old.seconds, 2), round(new.seconds, 2)),
        bits_per_byte=change_table(old.nats_N, new.nats_N, documents),
    )


def measure(
    tracer: Tracer, documents: Sequence[Document], *, on_progress: Callable[[int], None]
) -> Measurement:
    """Progress is documents read."""
    from model.fingerprint import weight_paths

    def advance(done: int, parts: int) -> None:
        on_progress(done * len(documents) // parts)

    started = time.perf_counter()
    nats_N = text_nats(tracer, [document.text for document in documents], on_progress=advance)
    seconds = time.perf_counter() - started
    return Measurement(
        nats_N=nats_N,
        seconds=seconds,
        choices=gate_choices(tracer, documents),
        parameters=tracer.model.description().parameters,
        experts_by_layer=[len(layer.neurons()) for layer in tracer.model.moe_layers()],
        bytes=sum(path.stat().st_size for path in weight_paths(tracer.folder)),
    )


def gate_choices(tracer: Tracer, documents: Sequence[Document]) -> Choices:
    import torch

    from model.encoded import encoded_documents, forward_room
    from model.expert_inputs import expert_inputs
    from model.losses import by_expert

    most = max(layer.num_experts for layer in tracer.model.moe_layers())
    document, chosen = [], []
    room = forward_room(tracer.model)
    encoded = list(encoded_documents(tracer.model, documents, room=room))
    for document_T, inputs in expert_inputs(tracer.model, encoded):
        document.append(document_T)
        chosen_LTE = [
            by_expert(torch.ones_like(ids_TK, dtype=torch.bool), ids_TK, most)
            for _, ids_TK, _ in inputs
        ]
        chosen.append(torch.stack(chosen_LTE, 1).cpu().numpy())
    return Choices(np.concatenate(document), np.concatenate(chosen))


def under_original_ids(choices: Choices, folder: Path, *, like: Choices) -> Choices:
    """Of a model in the folder whose experts have new ids, as choices of the original."""
    from model.fingerprint import is_transformers
    from model.huggingface.smaller import kept_experts

    kept = kept_experts(folder) if is_transformers(folder) else None
    if kept is None:
        return choices
    chosen_TLE = np.zeros_like(like.chosen_TLE)
    for layer_id, block in enumerate(sorted(kept)):
        chosen_TLE[:, layer_id, kept[block]] = choices.chosen_TLE[:, layer_id]
    return Choices(choices.document_T, chosen_TLE)
