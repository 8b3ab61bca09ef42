"""One layer's figures by every definition of docs/metrics.md, "Definitions, side by side".

T = tokens, N = documents, L = MoE layers, E = routed experts, K = chosen, V = token ids,
G = domains.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import ParamSpec

import numpy as np
import pandas as pd

from analysis import coactivation, definitions, load, specialization, vocabulary
from analysis.layers import marked

PAPER, CODE, OURS = "paper", "released code", "RouteScope"
BATCH_DOCUMENTS = 16
THRESHOLD = 0.2  # of ESFT's selection

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceArrays:
    """What the definitions read; None where a trace does not have it."""

    layer_id: int
    tokens_NLE: np.ndarray  # documents with at least one token
    domain_id_N: np.ndarray
    tokens_N: np.ndarray  # of the documents, those that chose in the layer
    first_tokens_VE: np.ndarray  # of the layer
    next_tokens_VE: np.ndarray  # of the layer, by the token that follows
    pairs_EE: np.ndarray  # of the layer
    ids_TK: np.ndarray | None  # of the layer, rank 0 first; None where k varies
    weights_NLE: np.ndarray | None  # None where the source gives ids only
    experts_L: np.ndarray  # tokens_NLE and weights_NLE are 0 beyond


@dataclass(frozen=True, slots=True)
class Figure:
    """A value, or why there is none."""

    value: float | None
    reason: str = ""


Row = tuple[str, str, str, Figure]  # metric, variant, formula in words

NO_PAIRS = Figure(None, "no token chose two experts in this layer: there are no pairs")
NO_TOKENS = Figure(None, "no routed tokens in this layer; capture a trace with tokens")
NO_RANKS = Figure(None, "k varies from token to token: ranks cannot be compared")
NO_SNAPSHOTS = Figure(None, "no routing snapshots in a trace; the page Training has them")
NO_PREDICTIONS = Figure(None, "a trace holds no logits, so the predicted token is unknown")
NO_SCORES = Figure(None, "the trace has ids only, no weights: no gate score")
NO_POOL = Figure(None, "layers have different numbers of experts: they cannot be pooled")
NO_PROBABILITIES = Figure(None, "the trace has ids only, no weights: no gate probability")
ONE_DOMAIN = Figure(None, "one domain: a lift compares domains")


def definitions_table(trace: TraceArrays) -> pd.DataFrame:
    """metric, variant (paper, released code or RouteScope), value, formula, reason (why empty)."""
    rows = [
        {"metric": metric, "variant": variant, "formula": formula, **asdict(figure)}
        for metric, variant, formula, figure in _rows(trace)
    ]
    columns = ["metric", "variant", "value", "formula", "reason"]
    return pd.DataFrame(rows)[columns].astype({"value": "Float64"})


def _rows(trace: TraceArrays) -> Iterator[Row]:
    yield from _pair_rows(trace)
    yield from _domain_rows(trace)
    yield from _vocabulary_rows(trace)
    yield from _training_rows()
    yield from _esft_rows(trace, "gate score", trace.weights_NLE)
    yield from _esft_rows(trace, "token-selection ratio", trace.tokens_NLE)
    yield from _balance_rows(trace)
    yield from _loss_rows(trace)


def _pair_rows(trace: TraceArrays) -> Iterator[Row]:
    name, lift = "co-activation, strongest pair", "lift of co-activation, strongest pair"
    pairs_EE, tokens_E, num_tokens = _pair_counts(trace)
    rate = plain = NO_PAIRS
    if pairs_EE.any():
        rate = _figure(coactivation.coactivation_rate, pairs_EE, tokens_E)
        plain = _figure(coactivation.coactivation_lift, pairs_EE, tokens_E, num_tokens)
    yield name, PAPER, "share of a's tokens that chose b too", rate
    yield name, CODE, "the same, where a and b are neighbours in rank", _neighbours(trace)
    yield name, OURS, "as the paper", rate
    yield lift, PAPER, "P(a and b) / (P(a) P(b))", plain
    yield lift, OURS, "the same, over what choosing k of E gives alone", _corrected_lift(trace)


def _pair_counts(trace: TraceArrays) -> tuple[np.ndarray, np.ndarray, int]:
    """pairs_EE and tokens_E of the layer, and the number of tokens."""
    tokens_E = trace.tokens_NLE[:, trace.layer_id, : len(trace.pairs_EE)].sum(0)
    return trace.pairs_EE, tokens_E, int(trace.tokens_N.sum())


def _neighbours(trace: TraceArrays) -> Figure:
    if trace.ids_TK is None:
        return NO_RANKS
    if not trace.pairs_EE.any():
        return NO_PAIRS
    num_experts = len(trace.pairs_EE)
    return _figure(definitions.adjacent_coactivation_rate, trace.ids_TK, num_experts)


def _corrected_lift(trace: TraceArrays) -> Figure:
    if not trace.pairs_EE.any():
        return NO_PAIRS
    counts = _pair_counts(trace)
    null = float(coactivation.coactivation_null(*counts))
    return _figure(definitions.corrected_coactivation_lift, *counts, null=null)


def _domain_rows(trace: TraceArrays) -> Iterator[Row]:
    name = "domain specialization, strongest"
    num_domains = int(trace.domain_id_N.max(initial=-1)) + 1
    tokens_NE = trace.tokens_NLE[:, trace.layer_id, : trace.experts_L[trace.layer_id]]
    tokens_EG = np.zeros((tokens_NE.shape[1], num_domains))
    np.add.at(tokens_EG.T, trace.domain_id_N, tokens_NE)
    tokens_G = np.bincount(trace.domain_id_N, trace.tokens_N, minlength=num_domains)
    by_token = _figure(definitions.domain_token_share, tokens_EG, tokens_G)
    by_choice = _figure(definitions.domain_choice_share, tokens_EG)
    several = (tokens_G > 0).sum() > 1
    lift = _figure(specialization.domain_lift, tokens_EG[None]) if several else ONE_DOMAIN
    yield name, PAPER, "share of a domain's tokens that chose e", by_token
    yield name, CODE, "share of a domain's choices that went to e", by_choice
    yield name, OURS, "lift: the domain's share in e over its share in the layer", lift


def _vocabulary_rows(trace: TraceArrays) -> Iterator[Row]:
    name, tokens_VE = "vocabulary specialization", trace.first_tokens_VE
    living_VE = tokens_VE[tokens_VE.any(-1)]
    most = _figure(vocabulary.vocabulary_specialization, living_VE)
    mean = _figure(definitions.mean_vocabulary_share, tokens_VE)
    following = _figure(definitions.mean_vocabulary_share, trace.next_tokens_VE)
    row = vocabulary.vocabulary_summary(tokens_VE)
    corrected = Figure(None, row["reason"]) if row["reason"] else Figure(row["corrected"])
    yield name, PAPER, "share of an id's tokens that chose e first: the strongest", most
    yield name, CODE, "input token: the largest such share of an id, mean over all ids", mean
    yield name, CODE, "next token: the same of the id that follows", following
    yield name, CODE, "predicted token: the same of the likeliest next id", NO_PREDICTIONS
    ours = f"the same for ids of {vocabulary.MIN_OCCURRENCES} tokens, less what chance gives"
    yield name, OURS, ours, corrected


def _training_rows() -> Iterator[Row]:
    name, first = "router saturation", "share of tokens whose first expert is the last step's"
    yield name, PAPER, "share of the last step's choices made already", NO_SNAPSHOTS
    yield name, CODE, f"{first} (k = 1)", NO_SNAPSHOTS
    yield name, CODE, "the paper's, over k = 8; the same where every token chooses 8", NO_SNAPSHOTS
    yield name, OURS, "as the paper, mean over tokens", NO_SNAPSHOTS


def _esft_rows(trace: TraceArrays, score: str, amount_NLE: np.ndarray | None) -> Iterator[Row]:
    name = f"experts selected by {score}, p = {THRESHOLD}"
    by_document = by_layer = pooled = NO_SCORES
    if amount_NLE is not None:
        total_LE = amount_NLE.sum(0)
        chose_N = trace.tokens_N > 0
        mean_LE = definitions.esft_document_score(amount_NLE[chose_N], trace.tokens_N[chose_N])
        share_LE = definitions.normalized_over_layers(total_LE)
        over_layers_LE = np.nan_to_num(share_LE)  # nobody's expert number: never selected
        by_document = _selection(trace, definitions.normalized_over_experts(mean_LE))
        by_layer = _selection(trace, over_layers_LE)
        pooled = _selection(trace, definitions.normalized_over_experts(total_LE))
    yield name, PAPER, "mean of documents, over the layer's experts", by_document
    yield name, CODE, "all tokens, over the same expert of all layers", by_layer
    yield name, OURS, "all tokens, over the layer's experts", pooled


def _selection(trace: TraceArrays, score_LE: np.ndarray) -> Figure:
    own_E = score_LE[trace.layer_id, : trace.experts_L[trace.layer_id]]
    return _figure(_selection_size, own_E)


def _selection_size(score_E: np.ndarray) -> float:
    return len(definitions.selected_experts(score_E, THRESHOLD))


def _balance_rows(trace: TraceArrays) -> Iterator[Row]:
    balanced, violation, layer = "balancedness, all layers", "MaxVio", [trace.layer_id]
    tokens_LE = marked(trace.tokens_NLE.sum(0), trace.experts_L)
    of_sums = _figure(definitions.balancedness_of_sums, tokens_LE)
    mean = _figure(definitions.mean_balancedness, tokens_LE)
    starts = np.arange(0, len(trace.tokens_NLE), BATCH_DOCUMENTS)
    own_NLE = trace.tokens_NLE[:, layer, : trace.experts_L[trace.layer_id]]
    tokens_BLE = np.add.reduceat(own_NLE, starts)
    by_batch = _figure(definitions.batch_max_violation, tokens_BLE)
    whole = _figure(load.max_violation, tokens_LE[layer])
    batches = f"largest / mean load - 1, mean over batches of {BATCH_DOCUMENTS} documents"
    yield balanced, CODE, "vLLM: sum over layers of mean load / sum of largest load", of_sums
    yield balanced, CODE, "SGLang: mean over layers of mean load / largest load", mean
    yield violation, PAPER, batches, by_batch
    yield violation, OURS, "largest / mean load - 1 of the whole trace", whole


def _loss_rows(trace: TraceArrays) -> Iterator[Row]:
    name, chosen = "load-balance loss", "E sum f P, P from the weights of chosen experts"
    by_layer = pooled = NO_PROBABILITIES
    if trace.weights_NLE is not None:
        tokens_LE, weights_LE = trace.tokens_NLE.sum(0), trace.weights_NLE.sum(0)
        own = [trace.layer_id], slice(trace.experts_L[trace.layer_id])
        by_layer = _figure(definitions.load_balance_loss, tokens_LE[own], weights_LE[own])
        pooled = NO_POOL
        if len(set(trace.experts_L.tolist())) == 1:
            pooled = _figure(definitions.pooled_load_balance_loss, tokens_LE, weights_LE)
    yield name, PAPER, f"{chosen}: of the layer", by_layer
    yield name, CODE, f"{chosen}: of all layers pooled", pooled
    yield name, OURS, "as the paper", by_layer


def _figure(
    metric: Callable[Arguments, np.ndarray | float],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Figure:
    """The largest value of a metric, or the reason with which it refuses."""
    try:
        values = np.asarray(metric(*arguments, **named), dtype=float)
    except ValueError as error:
        return Figure(None, str(error))
    known = values[np.isfinite(values)]
    return Figure(float(known.max())) if known.size else NO_TOKENS
