"""What experts compute for tokens that are not theirs, and a model with fewer of them.

L = MoE layers, E = routed experts, F = inner neurons, P = parts of a neuron (gate row, up row,
down column), D = model dim, T = tokens, K = most experts per token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.ablation import BATCH_TOKENS
from model.capture import padded
from model.config import CLOSED
from model.encoded import Encoded, batches
from model.moe import Experts
from model.transformer import Transformer


class LayerInput(NamedTuple):
    """What the experts of one MoE layer were given."""

    x_TD: Tensor
    expert_ids_TK: Tensor
    weights_TK: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which experts go, and what becomes of their weights. Groups share a leader.

    A leader's new weights are the sum over its group of share x weights, the neurons of each in the
    order of the leader's; the gate keeps its rows, so that every choice and mixing weight stays as
    trained.
    """

    leader_LE: np.ndarray  # itself, another expert, or CLOSED
    share_LE: np.ndarray  # of its group; adds up to 1 over a group
    order_LEF: np.ndarray  # of neurons, in those of the leader
    sign_LEF: np.ndarray  # of up row and down column


def layer_inputs(
    model: Transformer, documents: Sequence[Encoded]
) -> Iterator[tuple[np.ndarray, list[LayerInput]]]:
    """(place of each token's document, the input of every MoE layer), batch by batch."""
    taken: list[LayerInput] = []
    hooks = [
        moe.experts.register_forward_pre_hook(
            lambda module, arguments: taken.append(LayerInput(*arguments))
        )
        for moe in model.moe_layers()
    ]
    device = model.embedding.weight.device
    try:
        for batch in batches(documents, tokens=BATCH_TOKENS[device.type]):
            chosen = [documents[index] for index in batch]
            token_ids_BS, rows_R = padded(chosen, device)
            with torch.inference_mode():
                model.hidden(token_ids_BS)
                of_layers = [LayerInput(*(part[rows_R] for part in layer)) for layer in taken]
            taken.clear()
            yield np.repeat(batch, [len(item.token_ids) for item in chosen]), of_layers
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def expert_outputs(experts: Experts, x_TD: Tensor) -> Tensor:
    """What every stored expert gives for every token [E, T, D], chosen or not, weight 1."""
    gate_up_ETF = torch.einsum("td,edf->etf", x_TD, experts.gate_up_EDF)
    gate_ETF, up_ETF = gate_up_ETF.chunk(2, dim=-1)
    return (F.silu(gate_ETF) * up_ETF) @ experts.down_EFD


def neurons(experts: Experts) -> np.ndarray:
    """Weights as [E, F, P, D]."""
    gate_EDF, up_EDF = experts.gate_up_EDF.detach().float().cpu().chunk(2, dim=-1)
    parts = [gate_EDF.transpose(1, 2), up_EDF.transpose(1, 2), experts.down_EFD.detach().cpu()]
    return torch.stack([part.float() for part in parts], dim=2).numpy()


def pruned(model: Transformer, plan: Plan) -> Transformer:
    """A new model; the given one stays as it is."""
    if model.config.expert_leaders is not None:
        raise ValueError("the model was pruned before; prune the one that it was made of")
    leaders = tuple(tuple(row) for row in plan.leader_LE.tolist())
    small = Transformer(replace(model.config, expert_leaders=leaders))
    state = dict(model.state_dict())
    for layer, moe in enumerate(model.moe_layers()):
        name = f"layers.{model.config.first_dense_layers + layer}.ffn.experts"
        state[f"{name}.gate_up_EDF"], state[f"{name}.down_EFD"] = _merged(moe.experts, plan, layer)
    small.load_state_dict(state)
    return small.to(model.embedding.weight).eval()


def with_int8_experts(model: Transformer) -> Transformer:
    """The same model, whose routed experts are rounded to INT8 when it is saved."""
    config = replace(model.config, expert_dtype="int8")
    same = Transformer(config)
    same.load_state_dict(model.state_dict())
    return same.to(model.embedding.weight).eval()


@torch.no_grad()
def _merged(experts: Experts, plan: Plan, layer: int) -> tuple[Tensor, Tensor]:
    gate_EDF, up_EDF = experts.gate_up_EDF.chunk(2, dim=-1)
    gate_up, down = [], []
    for leader in np.unique(plan.leader_LE[layer][plan.leader_LE[layer] != CLOSED]):
        members = np.flatnonzero(plan.leader_LE[layer] == leader).tolist()
        gate_up_DF = torch.zeros_like(experts.gate_up_EDF[0])
        down_FD = torch.zeros_like(experts.down_EFD[0])
        for expert in members:
            order_F = torch.from_numpy(plan.order_LEF[layer, expert]).to(gate_EDF.device)
            sign_F = torch.from_numpy(plan.sign_LEF[layer, expert]).to(gate_EDF)
            share = float(plan.share_LE[layer, expert])
            parts = [gate_EDF[expert][:, order_F], up_EDF[expert][:, order_F] * sign_F]
            gate_up_DF += share * torch.cat(parts, dim=-1)
            down_FD += share * experts.down_EFD[expert][order_F] * sign_F[:, None]
        gate_up.append(gate_up_DF)
        down.append(down_FD)
    return torch.stack(gate_up), torch.stack(down)
