"""One layer's figures by every definition of docs/metrics.md, "Definitions, side by side".

T = tokens, N = documents, L = MoE layers, E = routed experts, K = chosen, V = token ids,
G = domains.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis import coactivation, definitions, load, specialization, vocabulary

PAPER, CODE, OURS = "paper", "released code", "RouteScope"
BATCH_DOCUMENTS = 16
THRESHOLD = 0.2  # of ESFT's selection

Row = tuple[str, str, str, Callable[[], float]]  # metric, variant, formula in words, value


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceArrays:
    """What the definitions read; None where a trace does not have it."""

    layer_id: int
    tokens_NLE: np.ndarray  # documents with at least one token
    domain_id_N: np.ndarray
    tokens_N: np.ndarray  # length of the documents
    first_tokens_VE: np.ndarray  # of the layer
    pairs_EE: np.ndarray  # of the layer
    ids_TK: np.ndarray | None  # of the layer, rank 0 first; None where k varies
    weights_NLE: np.ndarray | None  # None where the source gives ids only


def definitions_table(trace: TraceArrays) -> pd.DataFrame:
    """metric, variant (paper, released code or RouteScope), value, formula, reason (why empty)."""
    rows = []
    for metric, variant, formula, value in _rows(trace):
        row: dict[str, object] = {"metric": metric, "variant": variant, "formula": formula}
        try:
            found = float(value())
            known = bool(np.isfinite(found))
            row |= {"value": found if known else None, "reason": "" if known else "no such choices"}
        except ValueError as error:
            row |= {"value": None, "reason": str(error)}
        rows.append(row)
    columns = ["metric", "variant", "value", "formula", "reason"]
    return pd.DataFrame(rows)[columns].astype({"value": "Float64"})


def _rows(trace: TraceArrays) -> Iterator[Row]:
    yield from _pair_rows(trace)
    yield from _domain_rows(trace)
    yield from _vocabulary_rows(trace)
    yield from _training_rows()
    yield from _esft_rows(trace)
    yield from _load_rows(trace)


def _pair_rows(trace: TraceArrays) -> Iterator[Row]:
    name, lift = "co-activation, strongest pair", "lift of co-activation, strongest pair"
    tokens_E = trace.tokens_NLE[:, trace.layer_id].sum(0)
    pairs_EE, num_tokens = trace.pairs_EE, int(trace.tokens_N.sum())

    def rate() -> float:
        return _largest(coactivation.coactivation_rate(_pairs(trace), tokens_E))

    def adjacent() -> float:
        ids_TK = _known(trace.ids_TK, "k varies from token to token: ranks cannot be compared")
        _pairs(trace)
        return _largest(definitions.adjacent_coactivation_rate(ids_TK, len(tokens_E)))

    def corrected() -> float:
        null = coactivation.varying_coactivation_null(_pairs(trace), tokens_E, num_tokens)
        by_null = definitions.corrected_coactivation_lift
        return _largest(by_null(pairs_EE, tokens_E, num_tokens, null=float(null)))

    def plain() -> float:
        return _largest(coactivation.coactivation_lift(_pairs(trace), tokens_E, num_tokens))

    yield name, PAPER, "share of a's tokens that chose b too", rate
    yield name, CODE, "the same, where a and b are neighbours in rank", adjacent
    yield name, OURS, "as the paper", rate
    yield lift, PAPER, "P(a and b) / (P(a) P(b))", plain
    yield lift, OURS, "the same, over what choosing k of E gives alone", corrected


def _domain_rows(trace: TraceArrays) -> Iterator[Row]:
    name = "domain specialization, strongest"
    num_domains = int(trace.domain_id_N.max(initial=-1)) + 1
    tokens_EG = np.zeros((trace.tokens_NLE.shape[-1], num_domains))
    np.add.at(tokens_EG.T, trace.domain_id_N, trace.tokens_NLE[:, trace.layer_id])
    tokens_G = np.bincount(trace.domain_id_N, trace.tokens_N, minlength=num_domains)
    by_token = lambda: definitions.domain_token_share(tokens_EG, tokens_G)  # noqa: E731
    yield name, PAPER, "share of a domain's tokens that chose e", lambda: _largest(by_token())
    by_choice = lambda: definitions.domain_choice_share(tokens_EG)  # noqa: E731
    yield name, CODE, "share of a domain's choices that went to e", lambda: _largest(by_choice())

    def lift() -> float:
        if (tokens_G > 0).sum() < 2:
            raise ValueError("one domain: a lift compares domains")
        return _largest(specialization.domain_lift(tokens_EG[None]))

    yield name, OURS, "lift: the domain's share in e over its share in the layer", lift


def _vocabulary_rows(trace: TraceArrays) -> Iterator[Row]:
    name, tokens_VE = "vocabulary specialization", trace.first_tokens_VE

    def corrected() -> float:
        row = vocabulary.vocabulary_summary([tokens_VE]).iloc[0]
        if row.reason:
            raise ValueError(row.reason)
        return row.corrected

    def most() -> float:
        living_VE = tokens_VE[tokens_VE.any(-1)]
        return _largest(vocabulary.vocabulary_specialization(living_VE))

    yield name, PAPER, "share of an id's tokens that chose e first: the strongest", most
    code = "the largest such share of an id, mean over all ids"
    yield name, CODE, code, lambda: definitions.mean_vocabulary_share(tokens_VE)
    ours = f"the same for ids of {vocabulary.MIN_OCCURRENCES} tokens, less what chance gives"
    yield name, OURS, ours, corrected


def _training_rows() -> Iterator[Row]:
    name = "router saturation"

    def missing() -> float:
        raise ValueError("no routing snapshots in a trace; the page Training has them")

    yield name, PAPER, "share of the last step's choices made already", missing
    yield name, CODE, "share of tokens whose first expert is the last step's (k = 1)", missing
    yield name, OURS, "as the paper, mean over tokens", missing


def _esft_rows(trace: TraceArrays) -> Iterator[Row]:
    amounts = {"gate score": trace.weights_NLE, "token-selection ratio": trace.tokens_NLE}
    for score, found_NLE in amounts.items():
        name = f"experts selected by {score}, p = {THRESHOLD}"

        def count(variant: str, found_NLE: np.ndarray | None = found_NLE) -> float:
            amount_NLE = _known(found_NLE, "the trace has ids only, no weights: no gate score")
            if variant == PAPER:
                total_LE = definitions.esft_document_score(amount_NLE, trace.tokens_N)
            else:
                total_LE = amount_NLE.sum(0)
            by_layers = variant == CODE
            score_LE = (
                definitions.normalized_over_layers(total_LE)
                if by_layers
                else definitions.normalized_over_experts(total_LE)
            )
            score_E = score_LE[trace.layer_id]
            if by_layers:  # nobody's expert number in any layer: never selected
                score_E = np.nan_to_num(score_E)
            return len(definitions.selected_experts(score_E, THRESHOLD))

        yield name, PAPER, "mean of documents, over the layer's experts", partial(count, PAPER)
        yield name, CODE, "all tokens, over the same expert of all layers", partial(count, CODE)
        yield name, OURS, "all tokens, over the layer's experts", partial(count, OURS)


def _load_rows(trace: TraceArrays) -> Iterator[Row]:
    tokens_LE, layer_id = trace.tokens_NLE.sum(0), trace.layer_id
    starts = np.arange(0, len(trace.tokens_NLE), BATCH_DOCUMENTS)
    balanced, violation = "balancedness, all layers", "MaxVio"
    sums = "vLLM: sum over layers of mean load / sum of largest load"
    yield balanced, CODE, sums, lambda: definitions.balancedness_of_sums(tokens_LE)
    ratios = "SGLang: mean over layers of mean load / largest load"
    yield balanced, CODE, ratios, lambda: definitions.mean_balancedness(tokens_LE)

    def by_batch() -> float:
        batches = np.add.reduceat(trace.tokens_NLE[:, [layer_id]], starts)
        return definitions.batch_max_violation(batches)[0]

    batch = f"largest / mean load - 1, mean over batches of {BATCH_DOCUMENTS} documents"
    yield violation, PAPER, batch, by_batch
    whole = "largest / mean load - 1 of the whole trace"
    yield violation, OURS, whole, lambda: load.max_violation(tokens_LE[[layer_id]])[0]

    def weights() -> np.ndarray:
        missing = "the trace has ids only, no weights: no gate probability"
        return _known(trace.weights_NLE, missing).sum(0)

    def by_layer() -> float:
        one = slice(layer_id, layer_id + 1)
        return definitions.load_balance_loss(tokens_LE[one], weights()[one])[0]

    loss, chosen = "load-balance loss", "E sum f P, P from the weights of chosen experts"
    yield loss, PAPER, f"{chosen}: of the layer", by_layer
    pooled = definitions.pooled_load_balance_loss
    yield loss, CODE, f"{chosen}: of all layers pooled", lambda: pooled(tokens_LE, weights())
    yield loss, OURS, "as the paper", by_layer


def _pairs(trace: TraceArrays) -> np.ndarray:
    if not trace.pairs_EE.any():
        raise ValueError("no token chose two experts in this layer: there are no pairs")
    return trace.pairs_EE


def _known(found: np.ndarray | None, missing: str) -> np.ndarray:
    if found is None:
        raise ValueError(missing)
    return found


def _largest(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    if known.size == 0:
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    return float(known.max())
