"""What a smaller model costs: measured beside the one that it was made of, on the same texts.

T = tokens, L = MoE layers, E = routed experts, K = most experts per token, N = documents.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.comparison import change_table
from analysis.stability import Choices, changed_choices
from app.studies.reader import Tracer
from app.studies.scoring import text_nats
from data.routing import Document

if TYPE_CHECKING:
    from torch import Tensor

Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Pairs are of the model before and after."""

    changed_choices: dict[str, float | None]  # share of the gates' choices: estimate, low, high
    parameters: tuple[int, int]
    bytes: tuple[int, int]  # of the weights on disk
    experts_by_layer: tuple[list[int], list[int]]
    seconds: tuple[float, float]  # to read the texts
    bits_per_byte: pd.DataFrame  # a row a domain: change_table


def compare(
    before: Tracer,
    after: Tracer,
    documents: Sequence[Document],
    *,
    seed: int,
    on_progress: Advance = lambda done, total: None,
) -> Costs:
    """Progress is documents done by both models and in all."""
    total = 2 * len(documents)
    nats_before_N, seconds_before = _read(before, documents, lambda done: on_progress(done, total))
    nats_after_N, seconds_after = _read(
        after, documents, lambda done: on_progress(len(documents) + done, total)
    )
    return Costs(
        bits_per_byte=change_table(nats_before_N, nats_after_N, documents, seed=seed),
        changed_choices=changed_choices(
            gate_choices(before, documents), gate_choices(after, documents), documents, seed=seed
        ),
        parameters=(_parameters(before), _parameters(after)),
        bytes=(_weight_bytes(before.folder), _weight_bytes(after.folder)),
        experts_by_layer=(_stored_experts(before), _stored_experts(after)),
        seconds=(seconds_before, seconds_after),
    )


def _read(
    tracer: Tracer, documents: Sequence[Document], advance: Callable[[int], None]
) -> tuple[np.ndarray, float]:
    """(nats of each document, seconds); progress is documents, in fractions cut off."""
    started = time.perf_counter()
    nats_N = text_nats(
        tracer,
        [document.text for document in documents],
        on_progress=lambda done, parts: advance(done * len(documents) // parts),
    )
    return nats_N, round(time.perf_counter() - started, 2)


def gate_choices(tracer: Tracer, documents: Sequence[Document]) -> Choices:
    from model.encoded import encoded_documents
    from model.expert_inputs import expert_inputs

    encoded = list(encoded_documents(tracer.model, documents))
    num_experts = [layer.num_experts for layer in tracer.model.moe_layers()]
    document, chosen = [], []
    for document_T, layers in expert_inputs(tracer.model, encoded):
        document.append(document_T)
        pairs = zip(layers, num_experts, strict=True)
        chosen.append(np.stack([_chosen(layer.expert_ids_TK, size) for layer, size in pairs], 1))
    return Choices(np.concatenate(document), np.concatenate(chosen))


def _chosen(expert_ids_TK: "Tensor", num_experts: int) -> np.ndarray:
    ids_TK = expert_ids_TK.cpu().numpy()
    chosen_TX = np.zeros((len(ids_TK), num_experts + 1), bool)  # the last: NO_EXPERT, -1
    np.put_along_axis(chosen_TX, ids_TK, True, axis=1)
    return chosen_TX[:, :num_experts]


def _parameters(tracer: Tracer) -> int:
    return tracer.model.description().parameters


def _stored_experts(tracer: Tracer) -> list[int]:
    return [len(layer.neurons()) for layer in tracer.model.moe_layers()]


def _weight_bytes(folder: Path) -> int:
    from model.fingerprint import shard_paths

    return sum(path.stat().st_size for path in shard_paths(folder))
