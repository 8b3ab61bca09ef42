"""The model whose capture is measured, and the documents that it reads."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pyarrow.parquet as pq
import torch

from app.studies.reader import HELDOUT, text_functions
from data.new_trace import TraceDescription
from data.routing import Document
from data.tokenizer import load_tokenizer
from model.capture import (
    encoded_documents,
    windows,
)
from model.checkpoint import load_model
from model.deepseek_moe import DeepSeekMoE
from model.encoded import Encoded
from model.presets import PRESETS
from model.readable import Encode, ReadableModel
from model.transformer import Transformer


def subject(arguments: argparse.Namespace) -> DeepSeekMoE:
    dtype = torch.bfloat16 if arguments.device == "cuda" else torch.float32
    if arguments.preset is None:
        model = load_model(arguments.model, device=arguments.device, dtype=dtype)
        path = arguments.model / "tokenizer.json"
        return DeepSeekMoE(model, *text_functions(load_tokenizer(path), path))
    config = replace(PRESETS[arguments.preset](), num_layers=arguments.layers)
    with torch.device(arguments.device):
        model = Transformer(config).to(dtype)
    model.initialize(seed=0)
    return DeepSeekMoE(
        model.eval(),
        encode=random_encode(config.vocab_size, config.context_length),
        decode=lambda token_ids: "piece" * len(token_ids),
        tokenizer="random",
    )


def random_encode(vocab_size: int, length: int) -> Encode:
    def encode(texts: list[str]) -> list[tuple[list[int], list[str]]]:
        rng = np.random.default_rng(len(texts))
        ids = rng.integers(1, vocab_size, (len(texts), length - 1)).tolist()
        return [(row, ["piece"] * len(row)) for row in ids]

    return encode


def documents() -> Iterator[Document]:
    """The held-out documents again and again, domains mixed, with ids that ascend."""
    rows = pq.read_table(HELDOUT, columns=["text", "domain"]).to_pylist()
    order = np.random.default_rng(0).permutation(len(rows))
    for doc_id in count():
        row = rows[order[doc_id % len(rows)]]
        yield Document(doc_id=doc_id, text=row["text"], domain=row["domain"], origin="heldout")


def documents_of(model: ReadableModel, tokens: int) -> list[Encoded]:
    """As many as hold so many tokens."""
    return next(windows(encoded_documents(model, documents()), tokens=tokens))


def description(model: ReadableModel) -> TraceDescription:
    described = model.description()
    return TraceDescription(
        name="bench",
        source=described.source,
        model_name="bench",
        model_sha256="",
        tokenizer="bench",
        layers=described.layers,
        seed=None,
        config={"model": described.config},
    )
