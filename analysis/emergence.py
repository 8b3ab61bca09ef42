"""How far experts tell domains apart at one step of a training, beside labels shuffled over texts.

N = documents of a fixed sample, L = MoE layers, E = routed experts, G = domains, P = permutations.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.metric_intervals import NULL_PERMUTATIONS
from analysis.permutation import permuted_labels
from analysis.specialization import (
    NO_DOMAIN,
    TOO_FEW,
    expert_domain,
    information_share,
    label_names,
)


def domain_experts(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """domain (of label_names), experts of experts_per_domain over all layers, null."""
    places = np.array([*range(len(domains)), TOO_FEW, NO_DOMAIN])
    counts_PG = np.sum(
        [
            (expert_domain(tokens_PEG)[..., None] == places).sum(1)
            for tokens_PEG in _permuted_tokens(tokens_NLE, domain_id_N, len(domains), seed)
        ],
        axis=0,
    )
    return pd.DataFrame(
        {
            "domain": label_names(domains),
            "experts": counts_PG[0],
            "null": counts_PG[1:].mean(0),
        }
    )


def domain_information(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """layer_id, information_share, null."""
    share_LP = np.stack(
        [
            information_share(tokens_PEG)
            for tokens_PEG in _permuted_tokens(tokens_NLE, domain_id_N, len(domains), seed)
        ]
    )
    return pd.DataFrame(
        {
            "layer_id": np.arange(len(share_LP)),
            "information_share": share_LP[:, 0],
            "null": share_LP[:, 1:].mean(1),
        }
    )


def tokens_by_domain(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, num_domains: int
) -> np.ndarray:
    """Choices by domain, tokens_LEG."""
    member_GN = np.arange(num_domains)[:, None] == domain_id_N
    return np.einsum("gn,nle->leg", member_GN.astype(float), tokens_NLE, optimize=True)


def _permuted_tokens(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, num_domains: int, seed: int
) -> Iterator[np.ndarray]:
    """tokens_PEG of one layer after the other: as they are, then with labels permuted."""
    labels_PN = permuted_labels(domain_id_N, permutations=NULL_PERMUTATIONS, seed=seed)
    member_PGN = (labels_PN[:, None] == np.arange(num_domains)[:, None]).astype(np.float32)
    for layer_id in range(tokens_NLE.shape[1]):
        yield (member_PGN @ tokens_NLE[:, layer_id].astype(np.float32)).swapaxes(1, 2)
