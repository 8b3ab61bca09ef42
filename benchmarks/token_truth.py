"""Traces whose routing follows the token alone: what is left to say beyond the token is nothing."""

import numpy as np

from analysis import specialization
from analysis.conditional import conditional_information
from benchmarks.known_truth import DOMAINS, EXPERTS, TOKENS, TOP_K


def token_driven_trace(seed: int, *, vocabulary: int = 300) -> dict[str, float]:
    """Every token id has its own experts. Domains either share one vocabulary or use each their
    own frequencies: then expert and domain go together, and only through the token."""
    rng = np.random.default_rng(seed)
    expert_ids_VK = np.stack([rng.permutation(EXPERTS)[:TOP_K] for _ in range(vocabulary)])
    documents = 12 * len(DOMAINS)
    document_T = np.repeat(np.arange(documents), TOKENS)
    domain_id_T = document_T % len(DOMAINS)
    figures: dict[str, float] = {}
    for name, concentration in (("shared words", None), ("own words", 0.3)):
        share_GV = np.full((len(DOMAINS), vocabulary), 1 / vocabulary)
        if concentration is not None:
            share_GV = rng.dirichlet(np.full(vocabulary, concentration), len(DOMAINS))
        share_NV = np.stack(
            [rng.dirichlet(50 * share_GV[n % len(DOMAINS)] + 1e-3) for n in range(documents)]
        )
        token_id_T = np.concatenate(
            [rng.choice(vocabulary, TOKENS, p=share_NV[n]) for n in range(documents)]
        )
        ids_TK = expert_ids_VK[token_id_T]
        swapped = rng.random(ids_TK.shape) < 0.2  # context decides a part of the choices
        ids_TK = np.where(swapped, rng.integers(EXPERTS, size=ids_TK.shape), ids_TK)
        chosen_TE = np.zeros((len(ids_TK), EXPERTS), bool)
        np.put_along_axis(chosen_TE, ids_TK, True, axis=1)
        domains_GE = np.stack([chosen_TE[domain_id_T == g].sum(0) for g in range(len(DOMAINS))])
        found = conditional_information(chosen_TE, token_id_T, document_T, domain_id_T, seed=seed)
        plain = specialization.mutual_information(domains_GE.T[None].astype(float))
        figures |= {
            f"{name}: plain": float(plain[0]),
            f"{name}: plug-in": found.plug_in,
            f"{name}: corrected": found.corrected,
            f"{name}: p": float(found.p < 0.05),
        }
    return figures
