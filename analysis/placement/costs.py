"""What a placement costs: how busy its busiest GPU is, what GPUs read of their memory, how far
choices travel.

L = MoE layers, E = routed experts, H = GPUs, M = nodes, T = tokens. Loads are of [..., L, H] or
[..., L, E]: leading axes are samples of the same texts. A layer without tokens counts for nothing,
but where SGLang counts it.
"""

from dataclasses import dataclass

import numpy as np

from analysis.placement.maps import Placement
from analysis.placement.routes import count_routes
from analysis.placement.sample import Choices

SMALL = 0.02  # of a share, up to which four terms of the logarithm's series are enough


def gpu_loads(tokens_LE: np.ndarray, placement: Placement) -> np.ndarray:
    """load_LH: copies of an expert share its tokens evenly."""
    return _on_gpus(tokens_LE / placement.copies.astype(np.float32), placement)


def _on_gpus(amount_LE: np.ndarray, placement: Placement) -> np.ndarray:
    """Sums over the places of each GPU [..., L, H], of what a copy of each expert has."""
    *leading, num_layers, num_experts = amount_LE.shape
    place_LP = placement.experts_LP + num_experts * np.arange(num_layers)[:, None]
    amount_VC = amount_LE.reshape(-1, num_layers * num_experts)
    taken = np.take(amount_VC, place_LP.ravel(), axis=1)
    return taken.reshape(*leading, num_layers, placement.cluster.num_gpus, -1).sum(-1)


def busiest_of_layers(load_LH: np.ndarray) -> np.ndarray:
    """max / mean over the GPUs of each layer; NaN of one without tokens."""
    return _ratio(load_LH.max(-1), load_LH.mean(-1))


def busiest_gpu(load_LH: np.ndarray) -> np.ndarray:
    """The same, mean over layers: 1 when balanced, H when one GPU does all the work."""
    return np.asarray(np.nanmean(busiest_of_layers(load_LH), -1))


def gpu_balancedness_sglang(load_LH: np.ndarray) -> np.ndarray:
    """SGLang: mean / max over the GPUs of a layer, mean over layers; 1 when balanced. A layer
    without tokens is one of 1."""
    ratio_L = _ratio(load_LH.mean(-1), load_LH.max(-1))
    return np.where(np.isnan(ratio_L), 1, ratio_L).mean(-1)


def gpu_balancedness_vllm(load_LH: np.ndarray) -> np.ndarray:
    """vLLM: sum over layers of the mean over GPUs, over the sum of the largest; 1 when balanced."""
    return load_LH.mean(-1).sum(-1) / load_LH.max(-1).sum(-1)


def gpu_balancedness_vllm_before_fix(load_LH: np.ndarray) -> np.ndarray:
    """What vLLM logged before a fix of 2026, with layers and GPUs exchanged: sum over GPUs of the
    mean over layers, over the sum of the largest. It is no balance of GPUs."""
    return load_LH.mean(-2).sum(-1) / load_LH.max(-2).sum(-1)


def _ratio(above_L: np.ndarray, below_L: np.ndarray) -> np.ndarray:
    return np.divide(above_L, below_L, out=np.full(above_L.shape, np.nan), where=below_L > 0)


def experts_read(
    tokens_LE: np.ndarray, num_tokens: np.ndarray, placement: Placement, *, batch: int
) -> np.ndarray:
    """experts_LH: the places of each GPU that a batch of so many tokens needs, on average, if it
    mixes tokens of all texts: sum over its places of 1 - (1 - p)^batch, where a token needs the
    place with probability p; num_tokens of [...] made the choices."""
    size = np.maximum(np.asarray(num_tokens, np.float32), 1e-9)[..., None, None]
    share_LE = tokens_LE / size / placement.copies.astype(np.float32)
    return _on_gpus(_needed(share_LE, batch), placement)


def _needed(share_E: np.ndarray, batch: int) -> np.ndarray:
    """1 - (1 - p)^batch; small p by their series, in which float32 loses nothing."""
    series_E = share_E * (1 + share_E * (1 / 2 + share_E * (1 / 3 + share_E / 4)))
    log_E = np.where(share_E < SMALL, -series_E, np.log(np.maximum(1 - share_E, 1e-9)))
    return -np.expm1(batch * log_E)


@dataclass(frozen=True, slots=True)
class Routes:
    """Where the choices of single tokens lead."""

    gpus_T: np.ndarray  # that a token's choices reach, summed over layers
    nodes_T: np.ndarray
    decisions_T: np.ndarray  # layers in which it chose
    served_LHH: np.ndarray  # tokens that two GPUs serve in a layer; on the diagonal, that one does
    decisions_L: np.ndarray  # tokens that chose in it


def routes(choices: Choices, placement: Placement) -> Routes:
    cluster, places_LER = placement.cluster, placement.places()
    num_tokens, num_layers = len(choices.group_T), len(places_LER)
    gpus_T, nodes_T, decisions_T = np.zeros((3, num_tokens), np.int64)
    served_LHH = np.zeros((num_layers, cluster.num_gpus, cluster.num_gpus), np.int64)
    decisions_L = np.zeros(num_layers, np.int64)
    copies_LE = placement.copies
    for layer_id, (expert_id_C, token_C) in enumerate(choices.of_layers()):
        count_routes(
            expert_id_C,
            token_C,
            places_LER[layer_id],
            copies_LE[layer_id],
            cluster.gpu_of_places,
            cluster.node_of_gpus,
            gpus_T,
            nodes_T,
            served_LHH[layer_id],
        )
        chose_T = np.bincount(token_C, minlength=num_tokens) > 0
        decisions_T += chose_T
        decisions_L[layer_id] = chose_T.sum()
    served_LHH += np.triu(served_LHH, 1).swapaxes(1, 2)  # of two GPUs only one order was counted
    return Routes(gpus_T, nodes_T, decisions_T, served_LHH, decisions_L)


def gpu_pair_traffic(of: Routes) -> np.ndarray:
    """share_HH: of the tokens of a layer, mean over layers, those that both GPUs serve; on the
    diagonal those that the GPU serves."""
    known_L = of.decisions_L > 0
    return (of.served_LHH[known_L] / of.decisions_L[known_L, None, None]).mean(0)


def node_pair_traffic(choices: Choices, placement: Placement) -> np.ndarray:
    """The same of nodes [M, M]: as if each node were one GPU."""
    return gpu_pair_traffic(routes(choices, placement.by_node()))


def moved_places(plan: Placement, current: Placement) -> np.ndarray:
    """How many copies of experts each layer brings to GPUs that do not hold them yet [L]; all of
    them where the number of GPUs changes."""
    if plan.cluster.num_gpus != current.cluster.num_gpus:
        return np.full(len(plan.experts_LP), plan.cluster.num_places)
    pairs = zip(plan.held_by_gpu(), current.held_by_gpu(), strict=True)
    return np.array([np.maximum(held_HE - had_HE, 0).sum() for held_HE, had_HE in pairs])
