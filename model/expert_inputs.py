"""What the experts of a model are given, and what each of them would give for it.

E = routed experts, T = tokens, D = model dim.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from model.capture import pad_sequences
from model.encoded import Encoded, batches
from model.readable import MoELayer, ReadableModel
from model.recording import ExpertInput, recorded_routing


def expert_inputs(
    model: ReadableModel, documents: Sequence[Encoded]
) -> Iterator[tuple[np.ndarray, list[ExpertInput]]]:
    """(place of each token's document, the input of every MoE layer), batch by batch."""
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
    ids_E1 = torch.arange(layer.num_experts, device=x_TD.device).unsqueeze(1)
    ids_CK = ids_E1.repeat_interleave(len(x_TD), dim=0)
    weights_CK = torch.ones_like(ids_CK, dtype=torch.float32)
    outputs_CD = layer.experts(x_TD.repeat(layer.num_experts, 1), ids_CK, weights_CK)
    return outputs_CD.unflatten(0, (layer.num_experts, len(x_TD)))
