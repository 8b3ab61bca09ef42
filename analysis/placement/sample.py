"""What placements read of a trace: loads of groups of texts by phase, and the single choices of
some of them.

N = groups, L = MoE layers, E = routed experts, T = tokens, C = choices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from duckdb import DuckDBPyConnection

from analysis import arrays, document_rows, queries
from analysis.halves import judging_half
from analysis.placement.routes import count_pairs
from analysis.queries import TraceInfo
from data.routing import PHASES

MOST_CELLS = 1 << 26  # of group, layer and expert: of more groups some are read
MOST_CHOICES = 6_000_000  # read one by one, half of them of either half of the groups


@dataclass(frozen=True, slots=True)
class Loads:
    """Choices of groups, and how many tokens made them."""

    tokens_NLE: np.ndarray
    size_N: np.ndarray | None  # tokens; None: unknown

    def of(self, kept_N: np.ndarray) -> "Loads":
        size_N = None if self.size_N is None else self.size_N[kept_N]
        return Loads(self.tokens_NLE[kept_N], size_N)


@dataclass(frozen=True, slots=True)
class Choices:
    """Of single tokens, by layer and token; tokens count from 0."""

    expert_id_C: np.ndarray  # int16
    token_C: np.ndarray  # int32
    ends: Sequence[int]  # of the layers: 0, then where each ends
    group_T: np.ndarray  # place of its group in Loads
    phase_T: np.ndarray  # place in PHASES

    def of(self, kept_N: np.ndarray, phase: str | None) -> "Choices":
        """Of some groups, which count anew, and a phase; tokens keep their numbers, and those that
        are left out are of group -1."""
        place_N = np.where(kept_N, np.cumsum(kept_N) - 1, -1)
        group_T = place_N[self.group_T]
        if phase is not None:
            group_T = np.where(self.phase_T == PHASES.index(phase), group_T, -1)
        kept_C = group_T[self.token_C] >= 0
        ends = np.append(0, np.cumsum(kept_C))[np.asarray(self.ends)].tolist()
        kept = self.expert_id_C[kept_C], self.token_C[kept_C], ends
        return Choices(*kept, group_T, self.phase_T)

    def of_layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """expert_id_C and token_C of each."""
        parts = [slice(begin, end) for begin, end in pairwise(self.ends)]
        return [(self.expert_id_C[part], self.token_C[part]) for part in parts]

    def pairs(self, layer_id: int, num_experts: int) -> np.ndarray:
        """pairs_EE of a layer: tokens that chose both."""
        return np.asarray(count_pairs(*self.of_layers()[layer_id], num_experts))


@dataclass(frozen=True, slots=True)
class Split:
    """Which groups make maps, and which ones measure them: others, or for want of others the same
    ones."""

    makes_N: np.ndarray
    measures_N: np.ndarray
    by_others: bool


@dataclass(frozen=True, slots=True)
class PlacedTexts:
    """The groups of a trace, in the order of their capture; one half of them makes a map, the other
    one judges it."""

    info: TraceInfo
    domain_id_N: np.ndarray
    documents_N: np.ndarray  # how many each has
    judges_N: np.ndarray
    loads: dict[str | None, Loads]  # of each phase, where there are two; of None: of all
    choices: Choices | None  # of some; None: the source only counts
    cut_texts: int  # of which only the first choices are read

    @property
    def phases(self) -> list[str]:
        return [phase for phase in self.loads if phase is not None]

    def loads_of(self, phase: str | None) -> Loads:
        """ValueError: there are choices of one phase only."""
        if phase not in self.loads:
            raise ValueError(
                f"{phase} cannot be told apart: this trace has choices of one phase only; leave "
                "the phase out"
            )
        return self.loads[phase]

    def split(self, *, phase: str | None, domain: str | None) -> "Split":
        kept_N = self.of_domain(domain) & self.loads_of(phase).tokens_NLE.any((1, 2))
        makes_N, judges_N = kept_N & ~self.judges_N, kept_N & self.judges_N
        if makes_N.any() and judges_N.any():
            return Split(makes_N, judges_N, by_others=True)
        return Split(kept_N, kept_N, by_others=False)

    def of_domain(self, domain: str | None) -> np.ndarray:
        """Whether a group is of it [N]."""
        if domain is None:
            return np.ones(len(self.domain_id_N), dtype=bool)
        return self.domain_id_N == self.info.domains.index(domain)


def read_texts(con: DuckDBPyConnection, info: TraceInfo) -> PlacedTexts:
    """ValueError: layers have different numbers of experts, or nothing was routed."""
    sizes_L = info.layer_sizes
    if (sizes_L != sizes_L[0]).any():
        raise ValueError(
            f"layers have {sizes_L.min()} to {sizes_L.max()} experts, and engines take maps of the "
            "same number in every layer: of this trace none can be made"
        )
    texts = _drawn(queries.documents(con).drop(columns="text"), info)
    tokens_NLE, unit_N = arrays.unit_array(con, info, texts)
    loads: dict[str | None, Loads] = {
        None: Loads(tokens_NLE, _sizes(con, info, texts, tokens_NLE, phase=None))
    }
    if all(_routed(con, phase) for phase in PHASES):
        decode_NLE, _ = arrays.unit_array(con, info, texts, phase="decode")
        for phase, of_phase_NLE in zip(PHASES, (tokens_NLE - decode_NLE, decode_NLE), strict=True):
            sizes_N = _sizes(con, info, texts, of_phase_NLE, phase=phase)
            loads[phase] = Loads(of_phase_NLE, sizes_N)
    size_N = tokens_NLE.sum((1, 2), dtype=np.float64)
    if not size_N.any():
        raise ValueError("no token of this trace was routed to an expert, so there is no load")
    by_unit = texts.groupby("unit").agg(domain=("domain", "first"), documents=("doc_id", "size"))
    domain_id_N = pd.Index(info.domains).get_indexer(pd.Index(by_unit.domain))
    judges_N = judging_half(size_N, domain_id_N)
    choices, cut_texts = None, 0
    if not info.counts_only:
        read = pd.concat([_drawn_texts(texts, unit_N, size_N, of) for of in (judges_N, ~judges_N)])
        choices = _choices(con, info, read, unit_N)
        cut_texts = int((read.positions < read.tokens).sum())
    return PlacedTexts(
        info=info,
        domain_id_N=domain_id_N,
        documents_N=by_unit.documents.to_numpy(),
        judges_N=judges_N,
        loads=loads,
        choices=choices,
        cut_texts=cut_texts,
    )


def _drawn(texts: pd.DataFrame, info: TraceInfo) -> pd.DataFrame:
    """Whole groups, at random but always the same, that memory holds."""
    units = texts.unit.unique()
    most = max(2, MOST_CELLS // (info.num_layers * info.num_experts))
    if len(units) <= most:
        return texts
    chosen = np.random.default_rng(0).choice(units, most, replace=False)
    return texts[texts.unit.isin(chosen)]


def _routed(con: DuckDBPyConnection, phase: str) -> bool:
    return bool(queries.expert_tokens(con, phase=phase).tokens.any())


def _sizes(
    con: DuckDBPyConnection,
    info: TraceInfo,
    texts: pd.DataFrame,
    tokens_NLE: np.ndarray,
    *,
    phase: str | None,
) -> np.ndarray | None:
    """Tokens of each group; where the source only counts, choices over k if that is known."""
    if info.counts_only:
        top_k = [layer.top_k for layer in info.layers if layer.top_k is not None]
        if len(top_k) < info.num_layers:
            return None
        return (tokens_NLE.sum(-1, dtype=np.float64) / np.array(top_k)).max(-1)
    rows = document_rows.document_phases(con)
    if phase is not None:
        rows = rows[rows.phase == PHASES.index(phase)]
    tokens = rows.groupby("doc_id").tokens.sum().reindex(texts.doc_id, fill_value=0)
    return tokens.groupby(texts.unit.to_numpy()).sum().to_numpy(np.float64)


def _drawn_texts(
    texts: pd.DataFrame, unit_N: np.ndarray, size_N: np.ndarray, half_N: np.ndarray
) -> pd.DataFrame:
    """Texts of whole groups of a half, drawn at random but always the same, with half of
    MOST_CHOICES; and how many of their `positions` are read. Groups that alone have more are passed
    over; if all do, the smallest one is read from its start."""
    most = MOST_CHOICES // 2
    order_N = np.random.default_rng(0).permutation(len(unit_N))
    order_N = order_N[(half_N & (size_N > 0))[order_N]]
    fitting_N = order_N[size_N[order_N] <= most]
    drawn_N = fitting_N[np.cumsum(size_N[fitting_N]) <= most]
    if len(fitting_N) or not len(order_N):
        of = texts[texts.unit.isin(unit_N[drawn_N])]
        return of.assign(positions=of.tokens)
    smallest = order_N[size_N[order_N].argmin()]
    of = texts[texts.unit == unit_N[smallest]]
    tokens = max(1, int(of.tokens.sum() * most / size_N[smallest]))
    left = tokens - (of.tokens.cumsum() - of.tokens)
    return of.assign(positions=np.clip(left, 0, of.tokens))[left > 0]


def _choices(
    con: DuckDBPyConnection, info: TraceInfo, read: pd.DataFrame, unit_N: np.ndarray
) -> Choices:
    """Of the first `positions` of these texts."""
    whole = read.positions == read.tokens
    parts = [(read.doc_id[whole].tolist(), 2**32)]
    cut = read[~whole]
    parts += [([doc_id], most) for doc_id, most in zip(cut.doc_id, cut.positions, strict=True)]
    tokens = [document_rows.token_phases(con, doc_ids, positions=most) for doc_ids, most in parts]
    place_T, phase_T, doc_id_T = (
        np.concatenate(columns)
        for columns in zip(
            *((arrays.places(t), t["phase"], t["doc_id"]) for t in tokens), strict=True
        )
    )
    order_T = np.argsort(place_T)
    place_T, phase_T, doc_id_T = place_T[order_T], phase_T[order_T], doc_id_T[order_T]
    flat = [_flat(batch, place_T) for batch in _lists(con, parts)]
    none = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int16)
    token_C, layer_C, expert_id_C = (
        np.concatenate(columns) for columns in zip(none, *flat, strict=True)
    )
    order_C = np.argsort(layer_C * len(place_T) + token_C, kind="stable")
    unit_T = read.set_index("doc_id").unit.reindex(doc_id_T).to_numpy()
    return Choices(
        expert_id_C=expert_id_C[order_C],
        token_C=token_C[order_C],
        ends=np.append(0, np.cumsum(np.bincount(layer_C, minlength=info.num_layers))).tolist(),
        group_T=np.searchsorted(unit_N, unit_T),
        phase_T=phase_T,
    )


def _lists(
    con: DuckDBPyConnection, parts: Sequence[tuple[Sequence[int], int]]
) -> Iterator[pa.RecordBatch]:
    """Of whole documents, and of single ones up to a position."""
    (whole, _), *cut = parts
    yield from document_rows.choice_lists_of(con, whole)
    for [doc_id], positions in cut:
        yield from document_rows.choice_lists(con, (doc_id, 0), (doc_id, int(positions) - 1))


def _flat(batch: pa.RecordBatch, place_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """token, layer_id and expert_id of every choice of these lists."""
    place_R = arrays.places({name: batch[name].to_numpy() for name in ("doc_id", "position")})
    token_R = np.searchsorted(place_T, place_R).astype(np.int32)
    layer_R = batch["layer_id"].to_numpy().astype(np.int64)
    length_R = batch["expert_ids"].value_lengths().fill_null(0).to_numpy()
    expert_id_C = batch["expert_ids"].flatten()
    made_C = expert_id_C.is_valid().to_numpy(zero_copy_only=False)  # where none ran, there is no id
    token_C, layer_C = (np.repeat(column_R, length_R)[made_C] for column_R in (token_R, layer_R))
    return token_C, layer_C, expert_id_C.drop_null().to_numpy().astype(np.int16)
