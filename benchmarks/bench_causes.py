"""The DeepSeekMoE paper's three experiments on the shipped model (arXiv 2401.06066, 4.5).

    python -m benchmarks.bench_causes

Writes data/checkpoint/causes.csv: the change of loss in each domain, with its interval.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from analysis.causes import change_figures, domain_changes
from analysis.groups import summed, units
from app.studies.reader import CHECKPOINT, HELDOUT, load_tracer, own_model
from data.routing import DOMAINS, Document
from model.ablation import Intervention, document_losses
from model.encoded import Encoded, encoded_documents
from model.fingerprint import model_sha256
from model.intervene import activated, masked_top, without_shared
from model.transformer import Transformer

SEED = 0
TOKENS = 256  # of a document, its first
DOCUMENTS = 14  # a domain
MASKED = (2, 4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CHECKPOINT / "causes.csv")
    arguments = parser.parse_args()
    start = time.perf_counter()
    tracer = load_tracer(CHECKPOINT)
    documents = subset()
    encoded = list(encoded_documents(tracer.model, documents, room=TOKENS))
    variants = experiments(own_model(tracer).transformer)
    changes = {f"{name}|{value}": block for (name, value), block in variants.items()}
    losses = document_losses(tracer.model, encoded, changes, on_progress=progress)
    table = changed(encoded, list(variants), losses.nats_VN, losses.tokens_N)
    table["model_sha256"], table["seed"] = model_sha256(CHECKPOINT), SEED
    table.to_csv(arguments.out, index=False, float_format="%.5f")
    shown = table[table.domain == "all"]
    print(shown.drop(columns=["model_sha256", "seed"]).to_string(index=False))
    tokens = int(losses.tokens_N.sum())
    seconds = time.perf_counter() - start
    environment = {"python": platform.python_version(), "torch": torch.__version__}
    figures = {"documents": len(encoded), "tokens": tokens, "seconds": round(seconds, 1)}
    print(json.dumps(environment | figures))


def subset() -> list[Document]:
    """As many held-out documents of every domain, drawn with the seed, one of every group before a
    second of any."""
    frame = pq.read_table(HELDOUT).to_pandas().sample(frac=1, random_state=SEED)
    turn = frame.groupby(["domain", "group"], dropna=False).cumcount()
    frame = frame.iloc[np.argsort(turn, kind="stable")]
    drawn = frame.groupby("domain").head(DOCUMENTS).sort_values("doc_id")
    return [
        Document(doc_id=int(row.doc_id), text=row.text, domain=row.domain, group=row.group)
        for row in drawn.itertuples()
    ]


def experiments(model: Transformer) -> dict[tuple[str, int], Intervention]:
    """What is changed and by how much: the value of an x axis."""
    top_k = model.config.top_k
    more = top_k + model.config.num_shared_experts
    return {
        **{("top experts masked", count): partial(masked_top, model, count) for count in MASKED},
        ("shared experts replaced", more): partial(replaced, model, more),
        **{
            ("experts activated", count): partial(activated, model, count)
            for count in range(1, top_k)
        },
    }


@contextmanager
def replaced(model: Transformer, top_k: int) -> Iterator[None]:
    with without_shared(model), activated(model, top_k):
        yield


def changed(
    encoded: list[Encoded],
    variants: list[tuple[str, int]],
    nats_VD: np.ndarray,
    tokens_D: np.ndarray,
) -> pd.DataFrame:
    """A row an experiment, value and domain; `all` is over all tokens."""
    documents = [item.document for item in encoded]
    unit_D = units([of.domain for of in documents], [of.group for of in documents])
    domain_id_D = np.array([DOMAINS.index(of.domain) for of in documents])
    domain_id_N = domain_id_D[np.unique(unit_D)]
    tokens_N, documents_N = summed(tokens_D, unit_D), summed(np.ones_like(unit_D), unit_D)
    nats_VN = summed(nats_VD.T, unit_D).T
    frames = []
    for (name, value), nats_N in zip(variants, nats_VN[1:], strict=True):
        change_N = nats_N - nats_VN[0]
        frame = domain_changes(change_N, tokens_N, documents_N, domain_id_N, domains=DOMAINS)
        total = {
            "domain": "all",
            **change_figures(change_N, tokens_N, domain_id_N),
            **{"n_groups": len(tokens_N), "n_documents": len(documents)},
            "n_tokens": int(tokens_N.sum()),
        }
        both = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)
        loss = [nats_N[of].sum() / tokens_N[of].sum() for of in members(both.domain, domain_id_N)]
        both.insert(0, "value", value)
        both.insert(0, "experiment", name)
        both.insert(3, "loss", loss)
        frames.append(both)
    return pd.concat(frames, ignore_index=True)


def members(domains: pd.Series, domain_id_N: np.ndarray) -> Iterator[np.ndarray]:
    for domain in domains:
        everywhere = np.ones(len(domain_id_N), bool)
        yield everywhere if domain == "all" else domain_id_N == DOMAINS.index(domain)


def progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} batches", end="", flush=True)


if __name__ == "__main__":
    main()
