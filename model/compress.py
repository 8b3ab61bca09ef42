"""A model with fewer experts, or with experts that take less room on disk.

L = MoE layers, E = routed experts, F = inner neurons, D = model dim.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.config import CLOSED
from model.moe import Experts
from model.transformer import Transformer


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


def prune(model: Transformer, plan: Plan) -> Transformer:
    """A new model; the given one stays as it is."""
    if model.config.expert_leaders is not None:
        raise ValueError("the model has already been pruned; prune the original")
    leaders = tuple(tuple(row) for row in plan.leader_LE.tolist())
    small = Transformer(replace(model.config, expert_leaders=leaders))
    state = dict(model.state_dict())
    for layer, moe in enumerate(model.moe_layers()):
        name = f"layers.{model.config.first_dense_layers + layer}.ffn.experts"
        state[f"{name}.gate_up_EDF"], state[f"{name}.down_EFD"] = _merge(moe.experts, plan, layer)
    small.load_state_dict(state)
    return small.to(model.head.weight).eval()


def with_int8_experts(model: Transformer) -> Transformer:
    """The same model, whose routed experts are rounded to INT8 when it is saved."""
    config = replace(model.config, expert_dtype="int8")
    same = Transformer(config)
    same.load_state_dict(model.state_dict())
    return same.to(model.head.weight).eval()


@torch.no_grad()
def _merge(experts: Experts, plan: Plan, layer: int) -> tuple[Tensor, Tensor]:
    gate_up_EDF, down_EFD = experts.gate_up_EDF, experts.down_EFD  # copies, of INT8 experts
    gate_EDF, up_EDF = gate_up_EDF.chunk(2, dim=-1)
    gate_up, down = [], []
    for leader in np.unique(plan.leader_LE[layer][plan.leader_LE[layer] != CLOSED]):
        members = np.flatnonzero(plan.leader_LE[layer] == leader).tolist()
        gate_up_DF = torch.zeros_like(gate_up_EDF[0])
        down_FD = torch.zeros_like(down_EFD[0])
        for expert in members:
            order_F = torch.from_numpy(plan.order_LEF[layer, expert]).to(gate_EDF.device)
            sign_F = torch.from_numpy(plan.sign_LEF[layer, expert]).to(gate_EDF)
            share = float(plan.share_LE[layer, expert])
            parts = [gate_EDF[expert][:, order_F], up_EDF[expert][:, order_F] * sign_F]
            gate_up_DF += share * torch.cat(parts, dim=-1)
            down_FD += share * down_EFD[expert][order_F] * sign_F[:, None]
        gate_up.append(gate_up_DF)
        down.append(down_FD)
    return torch.stack(gate_up), torch.stack(down)
