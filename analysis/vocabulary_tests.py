"""How surely experts follow the word: other texts, and words dealt again within documents.

T = tokens with a first choice, N = groups, V = token ids that occur often enough, E = routed
experts, R = deals.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE, jackknife_quantile
from analysis.groups import MIN_EFFECTIVE, too_few
from analysis.permutation import false_discovery_rate
from analysis.ratios import ROUNDING
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
    residual: pd.DataFrame  # place in V, group, tokens, and what they add to share - estimate
    domain_id_N: np.ndarray
    tokens_N: np.ndarray


def word_tests(
    frame: pd.DataFrame, domain_id_N: np.ndarray, *, deals: int = DEALS, seed: int = 0
) -> WordTests:
    """Of token_id_choices() with columns `document`, counted from 0, and `group`: places in
    domain_id_N."""
    frame = frame[frame.first_tokens > 0].sort_values("document", kind="stable")
    times = frame.first_tokens.to_numpy()
    columns = ("token_id", "expert_id", "document", "group")
    id_T, expert_T, document_T, group_T = (
        np.repeat(frame[name].to_numpy(), times) for name in columns
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
    cells = pd.DataFrame({"place": of_T, "group": group_T[known_T], "residual": residual})
    by_cell = cells.groupby(["place", "group"]).residual.agg(["size", "sum"])
    return WordTests(
        id_V=ids[often],
        tokens_V=tokens_V,
        share_V=share_V,
        expected_V=expected_specialization(tokens_V, share_E),
        dealt_RV=np.reshape(largest, (deals, len(tokens_V))) / tokens_V,
        residual=by_cell.set_axis(["tokens", "residual"], axis=1).reset_index(),
        domain_id_N=domain_id_N,
        tokens_N=np.bincount(group_T, minlength=len(domain_id_N)),
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
    influence_N = np.bincount(tests.residual.group, amount, minlength=len(tests.domain_id_N))
    mean_G = np.bincount(tests.domain_id_N, influence_N) / np.maximum(
        np.bincount(tests.domain_id_N), 1
    )
    error = float(np.sqrt(((influence_N - mean_G[tests.domain_id_N]) ** 2).sum()))
    few = too_few(tests.tokens_N, tests.domain_id_N)
    if not few and error > ROUNDING:  # else groups are all alike
        reach = error * jackknife_quantile(influence_N, tests.domain_id_N, error=error)
        figures |= {"low": estimate - reach, "high": min(estimate + reach, 1.0)}
    if len(tests.dealt_RV):
        dealt_R = ((tests.dealt_RV - tests.expected_V) / (1 - tests.expected_V)).mean(-1)
        above = (dealt_R >= estimate - 1e-12).sum()
        figures |= {"null": dealt_R.mean(), "p": (1 + above) / (1 + len(dealt_R))}
    return {name: float(value) for name, value in figures.items()}


def id_columns(tests: WordTests) -> pd.DataFrame:
    """token_id, low, high (95 % interval of share; none where groups are few or all
    alike), null (share of dealt words), p, q (over the
    ids of the layer), n_groups (that hold the id), effective_number (of them)."""
    squares = {"square": tests.residual.residual**2, "tokens_2": tests.residual.tokens**2}
    by_id = tests.residual.assign(**squares).groupby("place")
    groups_V = by_id.size().to_numpy()
    effective_V = tests.tokens_V**2 / by_id.tokens_2.sum().to_numpy()
    freedom_V = np.maximum(effective_V - 1, 1)
    reach_V = np.sqrt(by_id.square.sum().to_numpy() * effective_V / freedom_V) / tests.tokens_V
    reach_V *= special.stdtrit(freedom_V, (1 + CONFIDENCE) / 2)
    reach_V[(effective_V < MIN_EFFECTIVE) | (reach_V < ROUNDING)] = np.nan
    dealt_RV = tests.dealt_RV if len(tests.dealt_RV) else np.full((1, len(groups_V)), np.nan)
    p_V = (1 + (dealt_RV >= tests.share_V - 1e-12).sum(0)) / (1 + len(dealt_RV))
    p_V[np.isnan(dealt_RV[0])] = np.nan
    numbers = {
        "low": (tests.share_V - reach_V).clip(0),
        "high": (tests.share_V + reach_V).clip(max=1),
        "null": dealt_RV.mean(0),
        "p": p_V,
        "q": false_discovery_rate(p_V),
    }
    table = pd.DataFrame({"token_id": tests.id_V} | numbers | {"n_groups": groups_V})
    table["effective_number"] = effective_V
    return table.astype(dict.fromkeys(numbers, "Float64"))
