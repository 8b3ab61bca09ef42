"""How surely experts follow the word: other documents, and words dealt again within documents.

T = tokens with a first choice, N = documents, V = token ids that occur often enough, E = routed
experts, R = deals.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.bootstrap import CONFIDENCE, jackknife_quantile
from analysis.metric_intervals import MIN_FREEDOM
from analysis.permutation import false_discovery_rate
from analysis.significance import MIN_INTERVAL_DOCUMENTS
from analysis.vocabulary import MIN_OCCURRENCES, corrected_specialization, expected_specialization

DEALS = 50


@dataclass(frozen=True, slots=True)
class WordTests:
    """The token ids of a layer that occur often enough, and what dealt words show."""

    id_V: np.ndarray
    tokens_V: np.ndarray
    share_V: np.ndarray  # of the busiest first expert
    expected_V: np.ndarray
    dealt_RV: np.ndarray  # the same share, words dealt among the tokens of each document
    residual: pd.DataFrame  # place in V, document, residual: what documents add to share - estimate
    domain_id_N: np.ndarray


def word_tests(
    frame: pd.DataFrame, domain_id_N: np.ndarray, *, deals: int = DEALS, seed: int = 0
) -> WordTests:
    """Of token_id_choices() with a column `document`: places in domain_id_N."""
    frame = frame[frame.first_tokens > 0].sort_values("document", kind="stable")
    times = frame.first_tokens.to_numpy()
    id_T, expert_T, document_T = (
        np.repeat(frame[name].to_numpy(), times) for name in ("token_id", "expert_id", "document")
    )
    ids, place_T, tokens = np.unique(id_T, return_inverse=True, return_counts=True)
    often = tokens >= MIN_OCCURRENCES
    place_T = np.where(often, often.cumsum() - 1, often.sum())[place_T]  # rare ones share the last
    tokens_VE, tokens_V = _token_counts(place_T, expert_T), tokens[often]
    rng = np.random.default_rng(seed)
    dealt = [_token_counts(place_T[_deal(document_T, rng)], expert_T) for _ in range(deals)]
    largest = [dealt_VE[: len(tokens_V)].max(-1) for dealt_VE in dealt]
    share_E = tokens_VE.sum(0) / max(len(id_T), 1)
    tokens_VE = tokens_VE[: len(tokens_V)]
    share_V = tokens_VE.max(-1) / tokens_V
    known_T = place_T < len(tokens_V)
    of_T = place_T[known_T]
    residual = (expert_T[known_T] == tokens_VE.argmax(-1)[of_T]) - share_V[of_T]
    cells = pd.DataFrame({"place": of_T, "document": document_T[known_T], "residual": residual})
    return WordTests(
        id_V=ids[often],
        tokens_V=tokens_V,
        share_V=share_V,
        expected_V=expected_specialization(tokens_V, share_E),
        dealt_RV=np.reshape(largest, (deals, len(tokens_V))) / tokens_V,
        residual=cells.groupby(["place", "document"], as_index=False).agg({"residual": "sum"}),
        domain_id_N=domain_id_N,
    )


def _deal(document_T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The places of the tokens, those of each document in random order; document_T ascends."""
    place_T = rng.permutation(len(document_T))
    small_T = document_T.astype(np.min_scalar_type(int(document_T.max(initial=0))))  # sorts faster
    return place_T[np.argsort(small_T[place_T], kind="stable")]


def _token_counts(place_T: np.ndarray, expert_T: np.ndarray) -> np.ndarray:
    """Tokens by id and first expert, the rare ids in the last row."""
    shape = int(place_T.max(initial=0)) + 1, int(expert_T.max(initial=0)) + 1
    cells = np.bincount(place_T * shape[1] + expert_T, minlength=shape[0] * shape[1])
    return cells.reshape(shape)


def layer_figures(tests: WordTests) -> dict[str, float]:
    """low, high: the 95 % interval of the mean corrected share; null: its mean over dealt words;
    p: how often these show as much. What is not known is left out."""
    corrected_V = corrected_specialization(tests.share_V, tests.expected_V)
    if not len(corrected_V) or np.isnan(corrected_V).any():
        return {}
    figures: dict[str, float] = {}
    estimate = corrected_V.mean()
    weight_V = 1 / (tests.tokens_V * (1 - tests.expected_V) * len(corrected_V))
    amount = tests.residual.residual * weight_V[tests.residual.place]
    influence_N = np.bincount(tests.residual.document, amount, minlength=len(tests.domain_id_N))
    if len(influence_N) - len(np.unique(tests.domain_id_N)) >= MIN_FREEDOM:
        mean_G = np.bincount(tests.domain_id_N, influence_N) / np.maximum(
            np.bincount(tests.domain_id_N), 1
        )
        error = float(np.sqrt(((influence_N - mean_G[tests.domain_id_N]) ** 2).sum()))
        reach = error * jackknife_quantile(influence_N, tests.domain_id_N, error=error)
        figures |= {"low": estimate - reach, "high": min(estimate + reach, 1.0)}
    if len(tests.dealt_RV):
        dealt_R = ((tests.dealt_RV - tests.expected_V) / (1 - tests.expected_V)).mean(-1)
        above = (dealt_R >= estimate - 1e-12).sum()
        figures |= {"null": dealt_R.mean(), "p": (1 + above) / (1 + len(dealt_R))}
    return {name: float(value) for name, value in figures.items()}


def id_columns(tests: WordTests) -> pd.DataFrame:
    """token_id, low, high (95 % interval of share), null (share of dealt words), p, q (over the
    ids of the layer), n_documents (that hold the id)."""
    by_id = tests.residual.assign(square=tests.residual.residual**2).groupby("place")
    documents_V = by_id.size().to_numpy()
    squares_V = by_id.square.sum().to_numpy() * documents_V / np.maximum(documents_V - 1, 1)
    reach_V = np.sqrt(squares_V) / tests.tokens_V
    reach_V *= stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(documents_V - 1, 1))
    reach_V[documents_V < MIN_INTERVAL_DOCUMENTS] = np.nan
    dealt_RV = tests.dealt_RV if len(tests.dealt_RV) else np.full((1, len(documents_V)), np.nan)
    p_V = (1 + (dealt_RV >= tests.share_V - 1e-12).sum(0)) / (1 + len(dealt_RV))
    p_V[np.isnan(dealt_RV[0])] = np.nan
    numbers = {
        "low": (tests.share_V - reach_V).clip(0),
        "high": (tests.share_V + reach_V).clip(max=1),
        "null": dealt_RV.mean(0),
        "p": p_V,
        "q": false_discovery_rate(p_V),
    }
    table = pd.DataFrame({"token_id": tests.id_V} | numbers | {"n_documents": documents_V})
    return table.astype(dict.fromkeys(numbers, "Float64"))
