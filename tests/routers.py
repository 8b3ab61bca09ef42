"""Routers of known truth: what a test of significance must and must not find."""

import numpy as np
from numpy.typing import ArrayLike


def random_choices(
    rng: np.random.Generator,
    *,
    num_tokens: int,
    top_k: int,
    log_weights_E: ArrayLike,
    documents: int = 100,
    style: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """chosen_TE, document_T: k different experts a token by weight, no pair preferred.

    style is the standard deviation of a document's own log weights: its tokens resemble each other.
    """
    document_T = np.sort(np.arange(num_tokens) % documents)
    log_weights_E = np.asarray(log_weights_E, dtype=float)
    style_NE = style * rng.normal(size=(documents, len(log_weights_E)))
    score_TE = (
        log_weights_E + style_NE[document_T] + rng.gumbel(size=(num_tokens, len(log_weights_E)))
    )
    ids_TK = np.argsort(-score_TE, axis=-1)[:, :top_k]
    chosen_TE = np.zeros(score_TE.shape, dtype=bool)
    np.put_along_axis(chosen_TE, ids_TK, True, axis=-1)
    return chosen_TE, document_T
