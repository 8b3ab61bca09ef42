"""Every specialist of the demo trace, left out of the shipped model one at a time.

    python benchmarks/bench_specialists.py documents   # what the demo trace read, as token ids
    python benchmarks/bench_specialists.py losses      # every expert left out; needs torch alone
    python benchmarks/bench_specialists.py table       # data/checkpoint/demo.causes.parquet

On a CPU `losses` takes hours, so it can run where there is a GPU and nothing else installed.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

CHECKPOINT = Path("data/checkpoint")
TRACE = Path("traces/demo.duckdb")
SEED = 0


def documents(folder: Path) -> None:
    from app.studies.ablation import sample_documents
    from app.studies.reader import load_tracer
    from data.store import open_trace
    from model.encoded import encoded_documents

    tracer = load_tracer(CHECKPOINT)
    with open_trace(TRACE) as con:
        sampled = sample_documents(con, tokens_per_domain=10**9, seed=SEED)
    encoded = list(encoded_documents(tracer.model, sampled))
    np.savez_compressed(
        folder / "documents.npz",
        ids=np.concatenate([item.token_ids for item in encoded]).astype(np.uint16),
        lengths=[len(item.token_ids) for item in encoded],
        doc_id=[item.document.doc_id for item in encoded],
        domain=[str(item.document.domain) for item in encoded],
    )


def losses(folder: Path) -> None:
    import torch

    from data.routing import Document
    from model.ablation import document_losses
    from model.checkpoint import load_model
    from model.deepseek_moe import DeepSeekMoE
    from model.encoded import Encoded
    from model.fingerprint import model_sha256
    from model.intervene import masked

    read = np.load(folder / "documents.npz")
    ids = np.split(read["ids"].astype(int), np.cumsum(read["lengths"])[:-1])
    encoded = [
        Encoded(
            Document(doc_id=int(doc_id), text="", domain=str(domain)), list(own), [""] * len(own)
        )
        for doc_id, domain, own in zip(read["doc_id"], read["domain"], ids, strict=True)
    ]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(CHECKPOINT, device=device, dtype=torch.float32)
    reader = DeepSeekMoE(model, encode=no_text, decode=no_text, tokenizer="")
    started = time.perf_counter()
    layers = [
        document_losses(
            reader,
            encoded,
            {
                f"{layer}:{expert}": partial(masked, model, {layer: [expert]})
                for expert in range(model.config.num_experts)
            },
        )
        for layer in range(model.config.num_moe_layers)
    ]
    changed = [layer.nats_VN[1:] for layer in layers]
    np.savez(
        folder / "losses.npz",
        nats_VN=np.concatenate([layers[0].nats_VN[:1], *changed]),
        tokens_N=layers[0].tokens_N,
        domain=read["domain"],
        sha=model_sha256(CHECKPOINT),
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        torch=torch.__version__,
        seconds=time.perf_counter() - started,
    )


def no_text(_: object) -> NoReturn:
    """The texts were encoded in the step before: this one needs no tokenizer."""
    raise AssertionError


def table(folder: Path) -> None:
    import pandas as pd

    from analysis import queries
    from app.studies import ablation
    from data.sidecar import write_sidecar
    from data.store import open_trace
    from model.ablation import BASELINE, DocumentLoss

    measured = np.load(folder / "losses.npz")
    with open_trace(TRACE) as con:
        info = queries.trace_info(con)
        targets = ablation.targets_of(ablation.lifts(con, info), None, top=info.num_experts**2)
        groups = ablation.groups_of(con, info, targets)
    if str(measured["sha"]) != info.model_sha256:
        raise SystemExit("the losses are of another model than the trace")
    variants = [f"{layer}:{e}" for layer in range(info.num_layers) for e in range(info.num_experts)]
    losses = DocumentLoss([BASELINE, *variants], measured["nats_VN"], measured["tokens_N"])
    causes = ablation.cause_tables(groups, losses, measured["domain"], seed=SEED)
    parameters = {"model_sha256": info.model_sha256, "seed": SEED, "tokens_per_domain": "all"}
    parameters |= {name: measured[name].item() for name in ("device", "torch", "seconds")}
    write_sidecar(CHECKPOINT / TRACE.name, ablation.WHAT, causes, parameters)
    print(parameters)
    own = causes[causes.group == "own"]
    print(pd.crosstab(own.domain, own.verdict, margins=True).to_string())
    mean = causes.pivot_table(index="domain", columns="group", values="estimate", sort=False)
    print(mean.to_string(float_format="{:+.4f}".format))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["documents", "losses", "table"])
    parser.add_argument("--folder", type=Path, default=Path("."), help="of the files in between")
    arguments = parser.parse_args()
    {"documents": documents, "losses": losses, "table": table}[arguments.step](arguments.folder)


if __name__ == "__main__":
    main()
