"""Answers of gpt-oss as a fingerprinting project kept them: JSON with the routing of tokens.

A file holds one answer, a list of answers, or answers one after another (JSON Lines).
T = tokens, L = MoE layers, K = experts per token.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.importers.checks.findings import finding
from data.importers.reading.batching import in_batches
from data.importers.reading.json_values import objects, text_or_none
from data.importers.reading.numbered_layers import numbered, require_layers
from data.importers.source import DumpFile, Meter, Options, Source
from data.routing import DECODE, PREFILL, Document, Finding, RoutingBatch
from data.words import counted

NAME = "gptoss-json"
TITLE = "gpt-oss fingerprinting JSON"

TOKEN = re.compile(r"token_(\d{1,8})", re.ASCII)
LAYER = re.compile(r"layer_(\d{1,5})", re.ASCII)
EXPERTS, WEIGHTS = "selected_experts", "selected_probs"
SIGNS = re.compile(rb'"(?:router_data|full_text|generated_only)"\s*:\s*\[')


@dataclass(frozen=True, slots=True)
class Shape:
    file: DumpFile  # that has it
    layers: tuple[int, ...]
    top_k: int

    @property
    def names(self) -> list[str]:
        return [f"layer_{layer}" for layer in self.layers]


def recognizes(file: DumpFile, head: bytes) -> bool:
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return begins in (b"{", b"[") and SIGNS.search(head) is not None


def source(files: Sequence[DumpFile], options: Options) -> Source:
    shape = _shape(files)
    experts = options.require("num_experts", files[0], "does not say how many experts a layer has")

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        answers = (
            (f"{file.name}:{number}", answer)
            for file in files
            for number, answer in enumerate(objects(file, meter))
        )
        return in_batches(
            _batch(doc_id, *answer, shape=shape) for doc_id, answer in enumerate(answers)
        )

    return Source(
        format=NAME,
        engine="gpt-oss",
        layers=numbered(
            shape.layers,
            num_experts=experts,
            top_k=shape.top_k,
            scoring="softmax",
            weighting="scores of the chosen that sum to 1",
        ),
        batches=batches,
        weights_sum="one",
    )


def _shape(files: Sequence[DumpFile]) -> Shape:
    """Of the first token that was routed."""
    for file in files:
        for number, answer in enumerate(objects(file, Meter())):
            for _, layers in _tokens(answer, f"{file.name}:{number}"):
                return _shape_of(file, layers, f"{file.name}:{number}")
    raise ValueError(f"{files[0].name} has no token in its router_data; answers are expected")


def _shape_of(file: DumpFile, layers: dict[str, Any], where: str) -> Shape:
    numbers = [int(match[1]) for name in layers if (match := LAYER.fullmatch(name))]
    shape = Shape(file, tuple(require_layers(file, numbers)), 1)
    if set(shape.names) != set(layers):
        raise ValueError(f"{where}: the first token has other names of layers than layer_0")
    decision = layers[shape.names[0]]
    experts = decision.get(EXPERTS) if isinstance(decision, dict) else None
    if not isinstance(experts, list) or not experts:
        raise ValueError(f"{where}: {shape.names[0]} of the first token has no {EXPERTS}")
    return Shape(file, shape.layers, len(experts))


def _tokens(answer: dict[str, Any], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(position, decisions by the names of layers), ascending"""
    router_data = answer.get("router_data")
    if not isinstance(router_data, list):
        raise ValueError(f"{where}: router_data is missing, or no list; a list is expected")
    before = -1
    for item in router_data:
        if not isinstance(item, dict):
            raise ValueError(f"{where}: router_data holds {type(item).__name__}, no object")
        for name, layers in item.items():
            match = TOKEN.fullmatch(name)
            if match is None or not isinstance(layers, dict):
                raise ValueError(
                    f"{where}: router_data holds {name!r:.40} with {type(layers).__name__}; "
                    "token_0 with an object is expected"
                )
            if (position := int(match[1])) <= before:
                raise ValueError(
                    f"{where}: {name} stands behind token_{before}; each is expected once, in order"
                )
            before = position
            yield position, layers


def _batch(doc_id: int, origin: str, answer: dict[str, Any], *, shape: Shape) -> RoutingBatch:
    position_T, ids_TLK, weights_TLK = _decisions(answer, origin, shape)
    pieces = _texts(answer, "full_text", origin) or []
    generated = _texts(answer, "generated_only", origin)
    if generated is None:
        begins = int(position_T[0]) if len(position_T) else 0
        begins = begins or len(pieces)  # a text that was only read
    else:
        begins = len(pieces) - len(generated)
    domain = text_or_none(answer.get("category"), f"{origin}: category")
    return RoutingBatch.of(
        doc_id_T=np.full(len(position_T), doc_id),
        position_T=position_T,
        token_text_T=[pieces[at] if at < len(pieces) else None for at in position_T.tolist()],
        phase_T=np.where(position_T >= begins, DECODE, PREFILL),
        expert_ids_TLK=ids_TLK,
        weights_TLK=weights_TLK,
        documents=(
            Document(
                doc_id=doc_id,
                text="".join(pieces),
                origin=origin,
                domain=domain or None,
            ),
        ),
        findings=tuple(_findings(position_T, len(pieces), origin)),
    )


def _decisions(
    answer: dict[str, Any], where: str, shape: Shape
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positions, ids, weights)"""
    names, top_k = shape.names, shape.top_k
    positions: list[int] = []
    ids: list[int] = []
    weights: list[float] = []
    for position, layers in _tokens(answer, where):
        said = f"{where}: token_{position}"
        if len(layers) != len(names):
            raise ValueError(
                f"{said} has {counted(len(layers), 'layer', 'layers')}; {len(names)} are "
                "expected, as in "
                f"{shape.file.name}"
            )
        try:
            for name in names:
                decision = layers[name]
                experts, shares = decision[EXPERTS], decision[WEIGHTS]
                if len(experts) != top_k or len(shares) != top_k:
                    raise _other_length(said, name, experts, shares, shape)
                ids += experts
                weights += shares
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{said} lacks {EXPERTS} and {WEIGHTS} in a layer; they are expected in all of "
                f"{shape.file.name}: {', '.join(names):.200}"
            ) from error
        positions.append(position)
    dimensions = len(positions), len(names), top_k
    if not set(map(type, ids)) <= {int} or not set(map(type, weights)) <= {int, float}:
        raise ValueError(f"{where}: ids that are no whole numbers, or weights that are no numbers")
    try:
        with np.errstate(over="ignore"):
            weights_TLK = np.array(weights, np.float64).astype(np.float32).reshape(dimensions)
        return (
            np.array(positions, np.int64),
            np.array(ids, np.int64).reshape(dimensions),
            weights_TLK,
        )
    except OverflowError as error:
        raise ValueError(f"{where}: a number that is too large for an id or a weight") from error


def _other_length(
    where: str, name: str, experts: Sequence[int], shares: Sequence[float], shape: Shape
) -> ValueError:
    return ValueError(
        f"{where}, {name}, has {len(experts)} experts and {len(shares)} weights; {shape.top_k} are "
        f"expected, as in {shape.file.name}"
    )


def _texts(answer: dict[str, Any], name: str, where: str) -> list[str] | None:
    """None: the answer lacks it."""
    texts = answer.get(name)
    if texts is None:
        return None
    if not isinstance(texts, list) or not set(map(type, texts)) <= {str}:
        raise ValueError(f"{where}: {name} is no list of texts")
    text_or_none("".join(texts), f"{where}: {name}")
    return texts


def _findings(position_T: np.ndarray, tokens: int, where: str) -> Iterator[Finding]:
    """`tokens`: of the text; 0 where it is not known."""
    if not tokens:
        return
    beyond = int((position_T >= tokens).sum())
    if beyond:
        yield finding("rows-against-tokens", 1, f"{where}: {beyond} rows beyond token {tokens - 1}")
    lacks_last = tokens - 1 not in position_T
    if lacks_last:
        yield finding("no-pass-for-last-token", 1, where)
    unrecorded = tokens - lacks_last - (len(position_T) - beyond)
    if unrecorded:
        missing = np.setdiff1d(np.arange(tokens), position_T)
        yield finding("unrecorded-tokens", unrecorded, f"{where}, token {missing[0]}")
