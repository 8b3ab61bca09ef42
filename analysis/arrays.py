"""What the statistics take: arrays of the rows of a query, summed over groups of documents.

The unit of evidence is decided here and in `queries.documents`: a group of texts of one source, or
a document of its own. T = tokens, L = MoE layers, E = routed experts (the most of any layer),
G = domains, V = token ids, N = groups.

Layers may have different numbers of experts: analysis/layers.py.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries
from analysis.groups import summed
from analysis.layers import marked
from analysis.queries import TraceInfo
from data.routing import PHASES

SMALL = 1 << 28  # bytes of counts, beyond which they take the smallest type that holds them
MAX_TOKENS = 200_000  # of a trace whose single choices are read: whole texts, always the same


def group_array(
    con: DuckDBPyConnection,
    info: TraceInfo,
    *,
    doc_ids: np.ndarray | None = None,
    phase: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NLE (integers) of the groups with a token, by their first doc_id, and their
    domain_id_N: places in info.domains. Of the documents or the phase given, if not of all."""
    texts = queries.documents(con)
    domain = texts.set_index("doc_id").domain
    if doc_ids is not None:
        texts = texts[texts.doc_id.isin(doc_ids)]
    tokens_NLE, routed_N = _summed(con, info, texts, texts.unit, phase=phase)
    first_N = domain.loc[np.unique(texts.unit)[routed_N]]
    return _kept(tokens_NLE, routed_N), pd.Index(info.domains).get_indexer(pd.Index(first_N))


def unit_array(
    con: DuckDBPyConnection, info: TraceInfo, texts: pd.DataFrame, *, phase: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NLE of every group of these documents(), without a token too, and its unit: to lay
    the groups of two phases beside each other."""
    tokens_NLE, _ = _summed(con, info, texts, texts.unit, phase=phase)
    return tokens_NLE, np.unique(texts.unit)


def document_array(con: DuckDBPyConnection, info: TraceInfo) -> tuple[np.ndarray, np.ndarray]:
    """tokens of the documents with a token by layer and expert, and their doc_ids, which
    ascend: for definitions by document. The sample of intervals and tests is group_array()."""
    texts = queries.documents(con)
    tokens, routed = _summed(con, info, texts, texts.doc_id)
    return _kept(tokens, routed), texts.doc_id.to_numpy()[routed]


def _summed(
    con: DuckDBPyConnection,
    info: TraceInfo,
    texts: pd.DataFrame,
    unit: pd.Series,
    *,
    phase: str | None = None,
    counted: str = "tokens",
) -> tuple[np.ndarray, np.ndarray]:
    """Choices, or what else is counted of them [units, L, E], units ascending, and whether a unit
    has any: the sums of a trace of many texts are read in parts."""
    units, place_N = np.unique(unit, return_inverse=True)
    shape = len(units), info.num_layers, info.num_experts
    dtype: np.dtype[Any] = np.dtype(np.int64)
    if not info.counts_only:  # a token chooses an expert once
        most = int(np.bincount(place_N, texts.tokens, minlength=1).max())
        dtype = np.min_scalar_type(-most - 1)
    small = 4 * math.prod(shape) <= SMALL
    if counted != "tokens":
        dtype = np.dtype(np.float64 if small else np.float32)
    elif small:
        dtype = np.promote_types(dtype, np.int32)
    tokens, routed_N = np.zeros(shape, dtype), np.zeros(len(units), bool)
    flat = tokens.reshape(-1)
    place_N, doc_ids = np.append(place_N, -1), pd.Index(texts.doc_id)
    for rows in queries.load_batches(con, counted=counted):
        if phase is not None:
            of_phase_R = rows["phase"] == PHASES.index(phase)
            rows = {name: column_R[of_phase_R] for name, column_R in rows.items()}
        doc_id_R = rows["doc_id"]
        start_S = np.flatnonzero(np.append(True, doc_id_R[1:] != doc_id_R[:-1])[: len(doc_id_R)])
        place_S = place_N[doc_ids.get_indexer(pd.Index(doc_id_R[start_S]))]  # -1: none of them
        routed_N[place_S[place_S >= 0]] = True
        place_R = np.repeat(place_S, np.diff(start_S, append=len(doc_id_R)))
        cell_R = (place_R * info.num_layers + rows["layer_id"]) * info.num_experts
        cell_R += rows["expert_id"]
        counted_R = rows[counted]
        if (place_R < 0).any():
            cell_R, counted_R = cell_R[place_R >= 0], counted_R[place_R >= 0]
        np.add.at(flat, cell_R, counted_R.astype(dtype))
    return tokens, routed_N


def _kept(tokens: np.ndarray, kept_N: np.ndarray) -> np.ndarray:
    """Not copied where all are kept: it is large."""
    return tokens if kept_N.all() else tokens[kept_N]


def group_k_array(
    con: DuckDBPyConnection, info: TraceInfo
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """choices_NL, tokens_N and domain_id_N of the groups with a token, as in group_array()."""
    frame = queries.document_k(con)
    choices = frame.choices.to_numpy().reshape(-1, info.num_layers)
    first = frame.iloc[:: info.num_layers]  # every token is in every layer, if with k = 0
    counts = np.column_stack([choices, first.tokens])
    counts, domain_id_N = _by_unit(queries.documents(con), first.doc_id.to_numpy(), info, counts)
    return counts[:, :-1], counts[:, -1], domain_id_N


def group_gate_array(
    con: DuckDBPyConnection, info: TraceInfo
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """entropy_NL (summed), decisions_NL (of known entropy) and domain_id_N of the groups with a
    token, as in group_array()."""
    frame = queries.document_gate(con)
    doc_ids, place = np.unique(frame.doc_id, return_inverse=True)
    counts = np.zeros((len(doc_ids), 2, info.num_layers))
    counts[place, :, frame.layer_id] = frame[["entropy", "decisions"]]
    counts, domain_id_N = _by_unit(queries.documents(con), doc_ids, info, counts)
    return counts[:, 0], counts[:, 1], domain_id_N


def group_weights(con: DuckDBPyConnection, info: TraceInfo) -> np.ndarray:
    """weight_NLE: sums of the weights that the groups of group_array() gave, in their order.
    ValueError: weights are unknown, or not all of them are numbers."""
    texts = queries.documents(con)
    weight_NLE, routed_N = _summed(con, info, texts, texts.unit, counted="weight_sum")
    if not math.isfinite(weight_NLE.sum(dtype=np.float64)):
        raise ValueError("the weights of the trace are unknown, or not all of them are numbers")
    return _kept(weight_NLE, routed_N)


def _by_unit(
    frame: pd.DataFrame, doc_ids: np.ndarray, info: TraceInfo, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the documents added up over each group, and the domains of the groups."""
    texts = frame.set_index("doc_id").loc[doc_ids]
    first = np.unique(texts.unit, return_index=True)[1]
    domains = pd.Index(texts.domain.iloc[first])
    return summed(counts, texts.unit.to_numpy()), pd.Index(info.domains).get_indexer(domains)


def layer_sample(con: DuckDBPyConnection, info: TraceInfo, layer_id: int) -> pd.DataFrame:
    """layer_choices() of documents that hold MAX_TOKENS on average: the same ones in all layers."""
    tokens = max(info.num_tokens, 1)
    documents = min(queries.MAX_DOCUMENTS, max(MAX_TOKENS * info.num_documents // tokens, 1))
    return queries.layer_choices(con, layer_id, documents=documents)


def load_array(frame: pd.DataFrame, info: TraceInfo, *, counted: str = "tokens") -> np.ndarray:
    """tokens_LE of expert_tokens(), or dropped_LE of expert_dropped()."""
    tokens_LE = no_choices(info)
    tokens_LE[frame.layer_id, frame.expert_id] = frame[counted]
    return tokens_LE


def no_choices(info: TraceInfo) -> np.ndarray:
    """tokens_LE of a trace without any: 0 of every expert, NaN elsewhere."""
    return marked(np.zeros((info.num_layers, info.num_experts)), info.layer_sizes)


def k_array(frame: pd.DataFrame, info: TraceInfo) -> np.ndarray:
    """tokens_LK of rows of domain_k(): by the number of experts that ran, 0 to those of the layer,
    NaN beyond."""
    tokens_LK = marked(np.zeros((info.num_layers, info.num_experts + 1)), info.layer_sizes + 1)
    np.add.at(tokens_LK, (frame.layer_id.to_numpy(), frame.k.to_numpy()), frame.tokens.to_numpy())
    return tokens_LK


def with_unknown_k(tokens_LK: np.ndarray, tokens_LE: np.ndarray) -> np.ndarray:
    """A source of counts may not say how many experts ran for a token: what it counted beyond
    tokens_LK are tokens of one choice, which leave the most to chance."""
    known_L = np.nansum(tokens_LK * np.arange(tokens_LK.shape[-1]), -1)
    all_LK = tokens_LK.copy()
    all_LK[:, 1] += np.nansum(tokens_LE, -1) - known_L
    return all_LK


def domain_array(frame: pd.DataFrame, info: TraceInfo) -> np.ndarray:
    """tokens_LEG of expert_domain_tokens(), domains in the order of info.domains."""
    tokens_LEG = np.repeat(no_choices(info)[..., None], len(info.domains), axis=-1)
    domain_ids = pd.Index(info.domains).get_indexer(pd.Index(frame.domain))
    tokens_LEG[frame.layer_id, frame.expert_id, domain_ids] = frame.tokens
    return tokens_LEG


def pair_array(frame: pd.DataFrame, num_experts: int) -> np.ndarray:
    """pairs_EE of coactivation() of a layer with so many: symmetric, zero diagonal."""
    pairs_EE = np.zeros((num_experts, num_experts), dtype=np.int64)
    pairs_EE[frame.expert_a, frame.expert_b] = frame.tokens
    return pairs_EE + pairs_EE.T


def layer_pairs(pairs: dict[str, np.ndarray], info: TraceInfo) -> list[np.ndarray]:
    """pairs_EE of each layer, as of pair_array(), of all_pairs()."""
    pairs_LEE = np.zeros((info.num_layers, info.num_experts, info.num_experts), dtype=np.int64)
    pairs_LEE[pairs["layer_id"], pairs["expert_a"], pairs["expert_b"]] = pairs["tokens"]
    pairs_LEE += pairs_LEE.swapaxes(1, 2)
    return [
        pairs_EE[:count, :count]
        for pairs_EE, count in zip(pairs_LEE, info.layer_sizes, strict=True)
    ]


def choice_array(frame: pd.DataFrame, num_experts: int) -> tuple[np.ndarray, np.ndarray]:
    """chosen_TE (bool) and unit_T of layer_choices() of a layer with so many, its tokens in the
    order given."""
    starts = token_starts(frame)
    chosen_TE = np.zeros((starts.sum(), num_experts), dtype=bool)
    chosen_TE[starts.cumsum() - 1, frame.expert_id] = True
    return chosen_TE, frame.unit.to_numpy()[starts]


def token_starts(frame: pd.DataFrame) -> np.ndarray:
    """Whether a row of layer_choices() is the first of its token."""
    place = places(frame)
    return np.append(True, place[1:] != place[:-1])[: len(place)]


def transition_choices(
    here: pd.DataFrame, following: pd.DataFrame, num_experts: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """chosen_TE of the layer_choices() of two layers with so many, and unit_T, of the tokens that
    chose in both."""
    here_T, next_T = places(here), places(following)
    here, following = here[np.isin(here_T, next_T)], following[np.isin(next_T, here_T)]
    here_TE, unit_T = choice_array(here, num_experts[0])
    return here_TE, choice_array(following, num_experts[1])[0], unit_T


def places(rows: Mapping[str, np.ndarray] | pd.DataFrame) -> np.ndarray:
    """One number for document and position (uint64)."""
    doc_id, position = np.asarray(rows["doc_id"]), np.asarray(rows["position"])
    return (doc_id.astype(np.uint64) << np.uint64(32)) | position.astype(np.uint64)


def first_choice_array(
    frame: pd.DataFrame, token_ids: pd.DataFrame, num_experts: int
) -> np.ndarray:
    """tokens_VE of token_id_choices() of a layer with so many, first choices only; rows are those
    of token_ids()."""
    frame = frame[frame.first_tokens > 0]
    row = np.searchsorted(token_ids.token_id, frame.token_id)
    cells = row * num_experts + frame.expert_id.to_numpy(np.int64)
    tokens = np.bincount(cells, frame.first_tokens, len(token_ids) * num_experts)
    return tokens.astype(np.int32).reshape(len(token_ids), num_experts)
