"""Tables of the paper's comparison from the trainings of train_comparison.py.

    python benchmarks/bench_comparison.py prepare corpus    # before the trainings
    python benchmarks/bench_comparison.py pack runs/comparison
    python benchmarks/bench_comparison.py table

`prepare` tokenizes the shipped held-out texts, `pack` writes data/comparison/, `table` prints
what the app shows of it. N = documents, L = MoE layers, E = routed experts.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from analysis.diagnostics import diagnostics, is_low_resource
from analysis.metric_intervals import metric_table
from app import comparison
from app.tracing import CHECKPOINT, HELDOUT
from data.routing import DOMAINS
from data.tokenizer import load_tokenizer, tokenized
from data.tokens import write_tokens
from model.counting import count
from model.presets import PRESETS

MASKED_FROM = 15  # experts: of fewer a sixteenth is none
DIAGNOSED = ("mini-gshard", "mini-deepseekmoe")  # seed 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("prepare", "pack", "table"))
    parser.add_argument("folder", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        rows = pq.read_table(HELDOUT).to_pylist()
        encoder = load_tokenizer(CHECKPOINT / "tokenizer.json")
        write_tokens(arguments.folder, "shipped", tokenized(encoder, rows), DOMAINS)
    elif arguments.step == "pack":
        pack(arguments.folder)
    else:
        print_tables()


def pack(runs: Path) -> None:
    """runs.csv, losses.parquet, diagnostics.csv: everything the page Comparison reads."""
    comparison.FOLDER.mkdir(exist_ok=True)
    folders = sorted(path.parent for path in runs.glob("*/done"))
    pd.DataFrame([described(folder) for folder in folders]).to_csv(
        comparison.FOLDER / "runs.csv", index=False
    )
    losses = pd.concat([losses_of(folder) for folder in folders], ignore_index=True)
    losses = losses.astype({"preset": "category", "variant": "category", "seed": "uint8"})
    losses.to_parquet(comparison.FOLDER / "losses.parquet", compression="zstd", index=False)
    tables = [diagnosed(runs / f"{preset}.0").assign(preset=preset) for preset in DIAGNOSED]
    pd.concat(tables).to_csv(comparison.FOLDER / "diagnostics.csv", index=False)


def name_of(folder: Path) -> tuple[str, int]:
    preset, _, seed = folder.name.rpartition(".")
    return preset, int(seed)


def described(folder: Path) -> dict[str, object]:
    preset, seed = name_of(folder)
    config, counted = PRESETS[preset](), count(PRESETS[preset]())
    lines = (folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    sessions = [json.loads(line) for line in (folder / "sessions.jsonl").open(encoding="utf-8")]
    violation = [value for line in log[-25:] for value in line["max_violation"]]
    return {
        "preset": preset,
        "seed": seed,
        "router": config.router if config.num_experts else "dense",
        "num_experts": config.num_experts,
        "top_k": config.top_k,
        "num_shared_experts": config.num_shared_experts,
        "expert_dim": config.expert_dim or config.dense_ffn_dim,
        **{name: value for name, value in asdict(counted).items() if name != "sequence_length"},
        "steps": log[-1]["step"],
        "tokens": log[-1]["tokens"],
        "training_loss": np.mean([line["loss"] for line in log[-25:]]),
        "max_violation": np.mean(violation) if violation else None,
        "dropped_share": dropped_share(folder),
        "minutes": sum(session["seconds"] for session in sessions) / 60,
    }


def dropped_share(folder: Path) -> float | None:
    with np.load(folder / "results.npz") as results:
        if "dropped_NLE" not in results:
            return None
        dropped, kept = (int(results[x].sum(dtype=np.int64)) for x in ("dropped_NLE", "tokens_NLE"))
    return dropped / (dropped + kept)


def losses_of(folder: Path) -> pd.DataFrame:
    """preset, seed, variant ("" is the model as it is), doc_id, nats."""
    preset, seed = name_of(folder)
    with np.load(folder / "results.npz") as results:
        nats = {name: results[name] for name in results if name.startswith("nats_N")}
    few = PRESETS[preset]().num_experts < MASKED_FROM
    frames = [
        pd.DataFrame({"variant": name[7:], "doc_id": np.arange(len(nats_N)), "nats": nats_N})
        for name, nats_N in nats.items()
        if name == "nats_N" or (seed == 0 and not (few and "masked" in name))
    ]
    table = pd.concat(frames).assign(preset=preset, seed=seed)
    return table.astype({"doc_id": "uint16", "nats": "float32"})


def diagnosed(folder: Path) -> pd.DataFrame:
    frame = pq.read_table(HELDOUT).to_pandas()
    with np.load(folder / "results.npz") as results:
        tokens_NLE = results["tokens_NLE"]
    domain_id_N = pd.Index(DOMAINS).get_indexer(pd.Index(frame.domain))
    low_N = (frame.source + "/" + frame.sublabel).map(is_low_resource).to_numpy()
    one_N = np.zeros(int(low_N.sum()), dtype=int)
    return diagnostics(
        metric_table(tokens_NLE, domain_id_N, domains=DOMAINS),
        metric_table(tokens_NLE[low_N], one_N, domains=["low-resource"]),
        num_documents=len(frame),
        num_low_resource=len(one_N),
    )


def print_tables() -> None:
    found = comparison.read()
    for name, table in (
        ("bits per byte", found.bits.pivot(index="preset", columns="domain", values="estimate")),
        ("over all documents", found.bits[found.bits.domain == "all"]),
        ("questions", comparison.questions(found)),
        ("variants", comparison.variants(found)),
        ("diagnostics", found.diagnostics),
        ("trainings", found.runs),
    ):
        print(f"\n{name}\n{table.to_string(float_format=lambda x: f'{x:.4f}')}")


if __name__ == "__main__":
    main()
