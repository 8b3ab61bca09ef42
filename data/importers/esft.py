"""ESFT's expert weights: a text file for each layer, in which a line is a sequence.

A line has the ids of all its tokens, then their weights. How many experts a token chose is not
said: the ids of one token differ from each other, those of a longer run do not.
T = tokens, L = MoE layers, K = experts per token, G = runs of ids.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.importers.reading.batching import in_batches
from data.importers.reading.numbered_layers import numbered
from data.importers.reading.numbered_text import columns, in_natural_order, numbered_lines
from data.importers.source import HEAD, DumpFile, Meter, Options, Source
from data.routing import Document, RoutingBatch

NAME = "esft"
TITLE = "ESFT expert weights"

FILE = re.compile(r"expert_weights_(\d{1,4})\.txt")
IDS = rb"-?\d{1,6}+(?:\t-?\d{1,6}+)*+"
WEIGHT = rb"-?(?:\d{1,20}+(?:\.\d{1,20}+)?+(?:e[-+]\d{1,3}+)?+|nan|inf)"
LINE = re.compile(rb"(%b)\t\t(%b(?:\t%b)*+)" % (IDS, WEIGHT, WEIGHT))
BEGINNING = re.compile(IDS + rb"(?:\t?$|\t\t%b(?:\t|\n|\r|$))" % WEIGHT)
LONGEST = 1 << 27  # bytes of a sequence in all layers
LOOKED_AT = 1 << 18  # bytes of all files together, by which K is found
MOST_K = 64
EVIDENCE = 40  # ids that a run of ids would have twice, if it were of several tokens
NEARLY = 0.99  # of the runs without an id twice: too many to leave a length out


@dataclass(frozen=True, slots=True)
class Rank:
    """A folder: of each layer a file, with the same sequences."""

    layers: tuple[int, ...]
    files: tuple[DumpFile, ...]


def recognizes(file: DumpFile, head: bytes) -> bool:
    return BEGINNING.match(head) is not None and (
        len(head) == HEAD or b"\t\t" in head.split(b"\n", 1)[0]
    )


def source(files: Sequence[DumpFile], options: Options) -> Source:
    ranks = _ranks(files)
    experts = options.require("num_experts", files[0], "does not say how many experts a layer has")
    top_k = options.top_k or _top_k(ranks, experts)

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        sequences = (sequence for rank in ranks for sequence in _sequences(rank, meter, top_k))
        return in_batches(_batch(number, *sequence) for number, sequence in enumerate(sequences))

    return Source(
        format=NAME,
        engine="esft",
        layers=numbered(
            ranks[0].layers,
            num_experts=experts,
            top_k=top_k,
            scoring="softmax",
            weighting="scores",
        ),
        batches=batches,
        weights_sum="at most one",
        ranked=False,
    )


def _batch(doc_id: int, origin: str, ids_TLK: np.ndarray, weights_TLK: np.ndarray) -> RoutingBatch:
    return RoutingBatch.of(
        doc_id_T=np.full(len(ids_TLK), doc_id),
        position_T=np.arange(len(ids_TLK)),
        expert_ids_TLK=ids_TLK,
        weights_TLK=weights_TLK,
        documents=(Document(doc_id=doc_id, text="", origin=origin),),
    )


def _ranks(files: Sequence[DumpFile]) -> list[Rank]:
    """In order of their folders. ValueError: they have not the same layers."""
    by_folder: dict[Path, dict[int, DumpFile]] = {}
    for file in files:
        match = FILE.fullmatch(file.path.name)
        if match is None:
            raise ValueError(
                f"{file.name} does not say its layer; expert_weights_1.txt is such a name"
            )
        of_layer = by_folder.setdefault(file.path.parent, {})
        other = of_layer.setdefault(int(match[1]), file)
        if other is not file:
            raise ValueError(f"{other.name} and {file.name} are of one layer; leave one out")
    ranks = []
    for folder in sorted(by_folder, key=lambda folder: in_natural_order(str(folder))):
        of_layer = dict(sorted(by_folder[folder].items()))
        ranks.append(Rank(tuple(of_layer), tuple(of_layer.values())))
    for rank in ranks:
        if rank.layers != ranks[0].layers:
            raise ValueError(
                f"{_layers_in_words(ranks[0])}, and {_layers_in_words(rank)}; the same layers are "
                "expected of every rank"
            )
    return ranks


def _layers_in_words(rank: Rank) -> str:
    names = ", ".join(map(str, rank.layers))
    return f"{rank.files[0].name} stands beside files of the layers {names:.100}"


def _top_k(ranks: Sequence[Rank], experts: int) -> int:
    """The most ids in a row that differ from each other in every run of so many."""
    lines = [line for rank in ranks for line in _looked_at(rank)]
    if not lines:
        raise ValueError(f"{ranks[0].files[0].name} begins with no line of ids between tabs")
    whole = [len(ids) for ids, is_whole in lines if is_whole]
    common = int(np.gcd.reduce(whole)) if whole else 0
    distinct = {
        top_k: _distinct([ids for ids, _ in lines], top_k)
        for top_k in range(1, MOST_K + 1)
        if common % top_k == 0
    }
    top_k = max((top_k for top_k, share in distinct.items() if share == 1), default=1)
    runs = sum(len(ids) // top_k for ids, _ in lines)
    certain = top_k == 1 or runs * top_k**2 / 4 / experts >= EVIDENCE
    if not certain or any(share > NEARLY for more, share in distinct.items() if more > top_k):
        raise ValueError(
            f"{ranks[0].files[0].name} does not say how many experts a token chose, and its ids do "
            "not make it certain; give --top-k"
        )
    return top_k


def _distinct(lines: list[np.ndarray], top_k: int) -> float:
    """Share of the runs of so many ids in which no id stands twice."""
    ids_GK = np.concatenate([ids[: len(ids) // top_k * top_k] for ids in lines])
    ordered_GK = np.sort(ids_GK.reshape(-1, top_k), axis=-1)
    if not len(ordered_GK):
        return 0.0
    return float((ordered_GK[:, 1:] != ordered_GK[:, :-1]).all(-1).mean())


def _looked_at(rank: Rank) -> Iterator[tuple[np.ndarray, bool]]:
    """(ids of a line, whether they are all of it)"""
    for file in rank.files:
        size = LOOKED_AT // len(rank.files)
        with file.path.open("rb") as stream:
            head = stream.read(size)
        for line in head.split(b"\n"):
            ids, weights, _ = line.partition(b"\t\t")
            if not weights:  # cut off, maybe within a number
                ids = ids[: max(0, ids.rfind(b"\t"))]
            if ids and re.fullmatch(IDS, ids):
                yield _column(ids, pa.int64()), bool(weights)


def _sequences(
    rank: Rank, meter: Meter, top_k: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(where it stands, ids_TLK, weights_TLK)"""
    longest = LONGEST // len(rank.files)
    with ExitStack() as stack:
        lines_L = [
            stack.enter_context(closing(numbered_lines(file, meter, longest=longest)))
            for file in rank.files
        ]
        for number, line_L in enumerate(zip_longest(*lines_L), start=1):
            ids, weights = _halves(rank, number, [line and line[1] for line in line_L])
            _check_lengths(rank, number, ids, weights, top_k)
            shape = len(ids), -1, top_k
            ids_LTK = _column(b"\t".join(ids), pa.int64()).reshape(shape)
            weights_LTK = _column(b"\t".join(weights), pa.float32()).reshape(shape)
            origin = f"{rank.files[0].name}:{number}"
            yield origin, ids_LTK.transpose(1, 0, 2), weights_LTK.transpose(1, 0, 2)


def _halves(
    rank: Rank, number: int, line_L: Sequence[bytes | None]
) -> tuple[list[bytes], list[bytes]]:
    """(ids, weights) of each layer"""
    ids, weights = [], []
    for file, line in zip(rank.files, line_L, strict=True):
        if line is None:
            other = next(
                one for one, some in zip(rank.files, line_L, strict=True) if some is not None
            )
            raise ValueError(
                f"{file.name} ends before line {number}, which {other.name} has; as many lines are "
                "expected"
            )
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"{file.name}:{number}: not a line of ids between tabs, two tabs, and as many "
                "weights between tabs"
            )
        ids.append(match[1])
        weights.append(match[2])
    return ids, weights


def _check_lengths(
    rank: Rank, number: int, ids: list[bytes], weights: list[bytes], top_k: int
) -> None:
    length = ids[0].count(b"\t") + 1
    for file, some_ids, some_weights in zip(rank.files, ids, weights, strict=True):
        found = some_ids.count(b"\t") + 1, some_weights.count(b"\t") + 1
        if found != (length, length):
            raise ValueError(
                f"{file.name}:{number}: {found[0]} ids and {found[1]} weights; {length} of each "
                f"are expected, as {rank.files[0].name} has ids"
            )
    if length % top_k:
        raise ValueError(
            f"{rank.files[0].name}:{number}: {length} ids are not {top_k} a token; see --top-k"
        )


def _column(text: bytes, kind: pa.DataType) -> np.ndarray:
    return columns(text.replace(b"\t", b"\n"), [kind], separator="\t")[0]
