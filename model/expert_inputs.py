"""What the experts of a model are given, and what each of them would give for it.

E = routed experts, T = tokens, D = model dim.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.capture import pad_sequences
from model.encoded import Encoded, batches
from model.readable import MoELayer, ReadableModel
from model.recording import ExpertInput, recorded_routing

ROWS = 2**16  # of which outputs are computed at once
NEVER_ONE = ("LongcatFlashExperts",)  # in transformers 5.24 these fail where tokens have one choice


def expert_inputs(
    model: ReadableModel, documents: Sequence[Encoded]
) -> Iterator[tuple[np.ndarray, list[ExpertInput]]]:
    """(place of each token's document, the input of every MoE layer), batch by batch. No document
    is longer than `forward_room`."""
    with recorded_routing(model, inputs=True) as recording:
        for batch in batches(documents, tokens=model.batch_tokens):
            chosen = [documents[index] for index in batch]
            token_ids_BS, rows_R = pad_sequences(model, chosen)
            with torch.inference_mode():
                model.route(token_ids_BS)
                layers = recording.inputs(rows_R)
            yield np.repeat(batch, [len(item.token_ids) for item in chosen]), layers


@torch.inference_mode()
def expert_outputs(layer: MoELayer, x_TD: Tensor) -> Tensor:
    """What every expert gives for every token, chosen or not, with weight 1 [E, T, D]."""
    some = max(1, ROWS // max(1, len(x_TD)))
    ids_E = torch.arange(layer.num_experts, device=x_TD.device)
    return torch.cat([outputs_of(layer, x_TD, ids_e) for ids_e in ids_E.split(some)])


def outputs_of(layer: MoELayer, x_TD: Tensor, ids_E: Tensor) -> Tensor:
    ids_CK = ids_E.repeat_interleave(len(x_TD)).unsqueeze(1)
    return single_outputs(layer, x_TD.repeat(len(ids_E), 1), ids_CK).unflatten(0, (len(ids_E), -1))


@torch.inference_mode()
def chosen_norms(layer: MoELayer, given: ExpertInput) -> Tensor:
    """Length of what each chosen expert gives, with weight 1 [T, K]."""
    x_TD, ids_TK, _ = given
    return torch.stack(
        [single_outputs(layer, x_TD, ids_TK[:, [k]]).norm(dim=-1) for k in range(ids_TK.shape[1])],
        1,
    )


def single_outputs(layer: MoELayer, x_CD: Tensor, ids_C1: Tensor) -> Tensor:
    """What one expert gives for each row."""
    if not layer.takes_choices:
        raise ValueError(
            f"experts of {type(layer.gate).__name__} are not given choices and weights alone, so "
            "none can be asked by itself"
        )
    weights_CK = torch.ones_like(ids_C1, dtype=torch.float32)
    if type(layer.experts).__name__ in NEVER_ONE:
        ids_C1 = ids_C1.repeat(1, 2)
        weights_CK = F.pad(weights_CK, (0, 1))
    return layer.experts(x_CD, ids_C1, weights_CK).reshape(x_CD.shape)
