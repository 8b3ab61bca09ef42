"""Traces in the shapes of real models, with domains, texts and words that choose experts unlike.

    python benchmarks/shapes.py v3 --out /tmp/v3.duckdb
    python benchmarks/shapes.py k2 --tokens 20000 --texts 200 --out /tmp/k2.duckdb

A token's logits are those of its layer, its domain, its text and its word, plus Gumbel noise; the
largest top_k are chosen and softmax makes weights, entropies and margins of them.

T = tokens, L = layers, E = experts, K = chosen, G = domains, N = texts, W = kinds of words.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from data.groups import Grouping
from data.new_trace import TraceDescription
from data.routing import Document, LayerDescription, RoutingBatch
from data.store import TraceStore

VOCABULARY = 129_280  # token ids, as DeepSeek-V3 has them
KINDS = 64  # of words: those of one kind prefer the same experts
SHARED_GROUP = 0.2  # of texts are of one source with the text before them
DEAD = 0.004  # of experts
AT_ONCE = 1 << 24  # logits in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    layers: int
    experts: int
    top_k: int
    tokens: int = 100_000
    texts: int = 1_000
    domains: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.top_k < self.experts:
            raise ValueError(f"top_k {self.top_k} of {self.experts} experts; give fewer")
        if not 1 <= self.domains <= self.texts <= self.tokens:
            raise ValueError(
                f"{self.domains} domains, {self.texts} texts, {self.tokens} tokens: every domain "
                "needs a text, every text a token"
            )


SHAPES = {
    "v3": Shape(layers=58, experts=256, top_k=8),  # DeepSeek-V3
    "qwen3": Shape(layers=94, experts=128, top_k=8),  # Qwen3-235B-A22B
    "k2": Shape(layers=61, experts=384, top_k=8),  # Kimi-K2
    "domains": Shape(layers=58, experts=256, top_k=8, texts=500, domains=100),
    "texts": Shape(layers=58, experts=256, top_k=8, texts=20_000),
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """Factors of the score, so that dividing by exponential noise is adding Gumbel's to a logit."""

    layer_LE: np.ndarray
    domain_GLE: np.ndarray
    kind_WLE: np.ndarray

    @classmethod
    def drawn(cls, shape: Shape, rng: np.random.Generator) -> Self:
        """One expert in eight prefers domains, one in four words; some are never chosen."""
        size = shape.layers, shape.experts
        layer_LE = np.exp(rng.normal(0, 0.5, size))
        of_domain_LE, of_kind_LE = rng.random(size) < 1 / 8, rng.random(size) < 1 / 4
        domain_GLE = np.exp(rng.normal(0, 1, (shape.domains, *size)) * of_domain_LE)
        kind_WLE = np.exp(rng.normal(0, 0.7, (KINDS, *size)) * of_kind_LE)
        dead_LE = rng.random(size) < DEAD
        dead_LE[:, : shape.top_k + 1] = False  # one more than is chosen stays
        layer_LE[dead_LE] = 0
        return cls(*(factor.astype(np.float32) for factor in (layer_LE, domain_GLE, kind_WLE)))


def make(path: Path, shape: Shape) -> None:
    """The trace, whole or not at all."""
    rng = np.random.default_rng(shape.seed)
    preferences = Preferences.drawn(shape, rng)
    texts = _documents(shape, rng)
    groups = len({text.group for text in texts})
    layers = tuple(
        LayerDescription(
            name=f"layers.{layer_id}.mlp",
            num_experts=shape.experts,
            num_shared_experts=1,
            top_k=shape.top_k,
            scoring="softmax",
            weighting="scores that sum to 1",
            selection="scores",
        )
        for layer_id in range(shape.layers)
    )
    grouping = Grouping(source="column", documents=shape.texts, groups=groups)
    description = TraceDescription(
        name=path.stem,
        source="synthetic",
        model_name=f"synthetic, {shape.layers} layers of {shape.experts} experts",
        model_sha256="",
        tokenizer="synthetic",
        layers=layers,
        seed=shape.seed,
        config={"model": {}, "capture": {"prompts": {}, "groups": grouping.described()}},
    )
    with TraceStore.create(path, description, apart=True) as store:
        for batch in _batches(shape, texts, preferences, rng):
            store.write(batch)


def _documents(shape: Shape, rng: np.random.Generator) -> list[Document]:
    """Domains one after another; texts of one source have the same domain."""
    domain_N = np.sort(np.arange(shape.texts) % shape.domains)
    shared_N = rng.random(shape.texts) < SHARED_GROUP
    shared_N[np.diff(domain_N, prepend=-1) > 0] = False
    return [
        Document(
            doc_id=doc_id,
            text="",
            domain=f"domain {domain_N[doc_id] + 1:02d}",
            group=f"source {source}",
            origin=f"synthetic:{doc_id + 1}",
        )
        for doc_id, source in enumerate(np.cumsum(~shared_N))
    ]


def _batches(
    shape: Shape, texts: list[Document], preferences: Preferences, rng: np.random.Generator
) -> Iterator[RoutingBatch]:
    """Whole texts, of unlike length."""
    share_N = rng.lognormal(0, 0.6, shape.texts)
    length_N = 1 + rng.multinomial(shape.tokens - shape.texts, share_N / share_N.sum())
    most = max(1, AT_ONCE // (shape.layers * shape.experts))
    batch_N = (np.cumsum(length_N) - 1) // most
    domain_of = {
        name: place for place, name in enumerate(sorted({str(text.domain) for text in texts}))
    }
    for number in np.unique(batch_N):
        chosen = np.flatnonzero(batch_N == number)
        word_T, domain_T = [], []
        for doc_id in chosen:
            domain = domain_of[str(texts[doc_id].domain)]
            word_T.append(_words(length_N[doc_id], domain, shape, rng))
            domain_T.append(np.full(length_N[doc_id], domain))
        text_T = np.repeat(np.arange(len(chosen)), length_N[chosen])
        whole = tuple(
            replace(texts[doc_id], text="".join(map(_spelled, words)))
            for doc_id, words in zip(chosen, word_T, strict=True)
        )
        yield _routed(
            whole, text_T, np.concatenate(word_T), np.concatenate(domain_T), preferences, shape, rng
        )


def _words(length: int, domain: int, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Token ids by Zipf's law: half of them words of all domains, half of this one."""
    rank_T = np.minimum(rng.zipf(1.2, length) - 1, VOCABULARY // 2)
    own_T = rng.random(length) < 0.5
    return np.where(own_T, rank_T + (domain + 1) * (VOCABULARY // 2 // shape.domains), rank_T) % (
        VOCABULARY
    )


def _spelled(word: int) -> str:
    return f" w{word}"


def _routed(
    texts: tuple[Document, ...],
    text_T: np.ndarray,
    word_T: np.ndarray,
    domain_T: np.ndarray,
    preferences: Preferences,
    shape: Shape,
    rng: np.random.Generator,
) -> RoutingBatch:
    text_NLE = rng.normal(0, 0.25, (len(texts), shape.layers, shape.experts))
    text_NLE = np.exp(text_NLE).astype(np.float32)
    size = len(word_T), shape.layers
    ids_TLK, weights_TLK = np.empty((*size, shape.top_k), int), np.empty((*size, shape.top_k))
    entropy_TL, margin_TL = np.empty(size, np.float32), np.empty(size, np.float32)
    for layer_id in range(shape.layers):  # an array of one layer stays in a cache
        score_TE = preferences.layer_LE[layer_id] * preferences.domain_GLE[domain_T, layer_id]
        score_TE *= text_NLE[text_T, layer_id]
        score_TE *= preferences.kind_WLE[word_T % KINDS, layer_id]
        noise_TE = rng.standard_exponential(score_TE.shape, dtype=np.float32)
        score_TE /= np.maximum(noise_TE, 1e-6)
        score_TE /= score_TE.sum(-1, keepdims=True)
        entropy_TL[:, layer_id] = -(score_TE * np.log(np.maximum(score_TE, 1e-30))).sum(-1)
        best_TK = score_TE.argpartition(-shape.top_k - 1)[:, -shape.top_k - 1 :]
        value_TK = np.take_along_axis(score_TE, best_TK, -1)
        order_TK = np.argsort(-value_TK, kind="stable")
        value_TK = np.take_along_axis(value_TK, order_TK, -1)
        ids_TLK[:, layer_id] = np.take_along_axis(best_TK, order_TK, -1)[:, :-1]
        weights_TLK[:, layer_id] = value_TK[:, :-1] / value_TK[:, :-1].sum(-1, keepdims=True)
        margin_TL[:, layer_id] = value_TK[:, -2] - value_TK[:, -1]
    lengths = np.bincount(text_T)
    batch = RoutingBatch.of(
        doc_id_T=np.array([text.doc_id for text in texts])[text_T],
        position_T=np.concatenate([np.arange(length) for length in lengths]),
        token_id_T=word_T,
        token_text_T=[_spelled(word) for word in word_T],
        loss_T=rng.gamma(2, 1.2, len(word_T)),
        expert_ids_TLK=ids_TLK,
        weights_TLK=weights_TLK,
        documents=texts,
    )
    return replace(batch, entropy_TL=entropy_TL, margin_TL=margin_TL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--out", type=Path, required=True)
    add_options(parser)
    arguments = parser.parse_args()
    began = time.perf_counter()
    make(arguments.out, shape_of(arguments))
    megabytes = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {megabytes:,.0f} MB in {time.perf_counter() - began:.1f} s")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What may be unlike the shape that is named."""
    for name in ("layers", "experts", "top-k", "tokens", "texts", "domains", "seed"):
        parser.add_argument(f"--{name}", type=int)


def shape_of(arguments: argparse.Namespace) -> Shape:
    given = {name: getattr(arguments, name) for name in Shape.__slots__}
    changed = {name: value for name, value in given.items() if value is not None}
    try:
        return replace(SHAPES[arguments.shape], **changed)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
