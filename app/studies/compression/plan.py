"""What becomes of the weights of the experts that go.

L = MoE layers, E = routed experts, F = inner neurons, P = parts of a neuron, D = model dim.
"""

from typing import TYPE_CHECKING

import numpy as np

from analysis.redundancy import CLOSED, neuron_match
from app.studies.compression.rule import How, Rule
from app.studies.redundancy import Redundancy

if TYPE_CHECKING:
    from model.compress import Plan
    from model.transformer import Transformer


def without_experts(model: "Transformer", rule: Rule, known: Redundancy) -> "Transformer":
    """A new model, of which those go that the rule names."""
    from model.compress import prune

    leader_LE = rule.leaders(known)
    rule.require_change(known, leader_LE)
    plan = plan_of(model, leader_LE, known.tokens_LE, how=rule.how)
    return prune(model, plan)


def plan_of(
    model: "Transformer", leader_LE: np.ndarray, tokens_LE: np.ndarray, *, how: How
) -> "Plan":
    """`drop`: a group runs its leader's weights. `merge`: their mean, weighted by use."""
    from model.compress import Plan

    layers, experts = leader_LE.shape
    order_LEF = np.tile(np.arange(model.config.expert_dim), (layers, experts, 1))
    sign_LEF = np.ones(order_LEF.shape)
    share_LE = (leader_LE == np.arange(experts)).astype(float)
    if how == "merge":
        for layer_id, layer in enumerate(model.moe_layers()):
            share_LE[layer_id] = shares_of_use(leader_LE[layer_id], tokens_LE[layer_id])
            neurons_EFPD = layer.neurons()
            for expert, leader in enumerate(leader_LE[layer_id]):
                if leader not in (expert, CLOSED):
                    match = neuron_match(neurons_EFPD[expert], neurons_EFPD[leader])
                    order_LEF[layer_id, expert], sign_LEF[layer_id, expert] = match
    return Plan(leader_LE=leader_LE, share_LE=share_LE, order_LEF=order_LEF, sign_LEF=sign_LEF)


def shares_of_use(leader_E: np.ndarray, tokens_E: np.ndarray) -> np.ndarray:
    """Of each expert in the tokens of its group; a group without any is its leader's."""
    share_E = (leader_E == np.arange(len(leader_E))).astype(float)
    for leader in np.unique(leader_E[leader_E != CLOSED]):
        members = leader_E == leader
        if total := tokens_E[members].sum():
            share_E[members] = tokens_E[members] / total
    return share_E
