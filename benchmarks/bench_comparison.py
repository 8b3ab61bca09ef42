"""Tables of the paper's comparison from the trainings of train_comparison.py.

    python benchmarks/bench_comparison.py prepare corpus    # before the trainings
    python benchmarks/bench_comparison.py pack runs/comparison
    python benchmarks/bench_comparison.py tables data/comparison

`prepare` tokenizes the shipped held-out texts and notes in data/comparison/documents.parquet which
they are, because those that are shipped later may be others. `pack` writes data/comparison/: the
losses by document and every table that the app shows; `tables` makes those that follow from the
losses again. N = documents, L = MoE layers, E = routed
experts.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from analysis.comparison import bits_table, difference, variant_table
from analysis.diagnostics import diagnostics, is_low_resource
from analysis.groups import summed, units
from analysis.metric_intervals import metric_table
from app.studies.reader import CHECKPOINT, HELDOUT
from app.views.comparison import paper as comparison
from data.routing import DOMAINS
from data.tokenizer import load_tokenizer, tokenized
from data.tokens import write_tokens
from data.training_folder import TrainingFolder
from model.counting import count
from model.presets import PRESETS

DOCUMENTS = comparison.FOLDER / "documents.parquet"
COLUMNS = ["doc_id", "domain", "source", "sublabel", "group", "bytes"]
MASKED_FROM = 15  # experts: of fewer a sixteenth is none
REFERENCE = "mini-gshard"
DIAGNOSED = ("mini-gshard", "mini-deepseekmoe")  # seed 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("prepare", "pack", "tables"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        prepare(arguments.folder)
    elif arguments.step == "pack":
        pack(arguments.folder)
    else:
        losses = pd.read_parquet(arguments.folder / "losses.parquet")
        write(from_losses(losses.astype({"preset": str, "variant": str})))


def prepare(corpus: Path) -> None:
    texts = pq.read_table(HELDOUT)
    path = CHECKPOINT / "tokenizer.json"
    documents = tokenized(load_tokenizer(path), texts.to_pylist(), path)
    write_tokens(corpus, "shipped", documents, DOMAINS)
    frame = texts.to_pandas().assign(bytes=lambda rows: rows.text.str.encode("utf-8").str.len())
    frame[COLUMNS].to_parquet(DOCUMENTS, compression="zstd", index=False)


def pack(runs: Path) -> None:
    comparison.FOLDER.mkdir(exist_ok=True)
    folders = sorted(path.parent for path in runs.glob("*/done"))
    losses = pd.concat([losses_of(folder) for folder in folders], ignore_index=True)
    small = losses.astype({"preset": "category", "variant": "category", "seed": "uint8"})
    small.to_parquet(comparison.FOLDER / "losses.parquet", compression="zstd", index=False)
    runs_table = pd.DataFrame([described(folder) for folder in folders])
    diagnosed_table = pd.concat(diagnosed(runs / f"{name}.0", name) for name in DIAGNOSED)
    write({"runs": runs_table, **from_losses(losses), "diagnostics": diagnosed_table})


def from_losses(losses: pd.DataFrame) -> dict[str, pd.DataFrame]:
    documents = pd.read_parquet(DOCUMENTS)
    losses = losses.astype({"nats": float})
    plain = losses[losses.variant == ""]
    ordered = pd.concat([plain[plain.preset == preset] for preset in comparison.NAMES])
    bits = bits_table(ordered, documents)
    return {
        "bits": bits,
        "differences": differences(plain, documents, bits),
        "questions": questions(plain, documents),
        "interventions": interventions(losses[losses.seed == 0], documents),
    }


def write(tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        table.to_csv(comparison.FOLDER / f"{name}.csv", index=False, float_format="%.7g")
        print(f"\n{name}\n{table.to_string(float_format=lambda x: f'{x:.4f}')}")


def differences(plain: pd.DataFrame, documents: pd.DataFrame, bits: pd.DataFrame) -> pd.DataFrame:
    """domain, model, bits, lowest, highest, n, seeds; difference to GShard, low, high, spread."""
    rows = []
    for own in bits.itertuples():
        preset, domain = str(own.preset), str(own.domain)
        measured = difference(plain, documents, preset, REFERENCE, domain=domain)
        rows.append(
            {
                "domain": domain,
                "model": comparison.NAMES[preset],
                "bits": own.estimate,
                "lowest": own.lowest,
                "highest": own.highest,
                "n": own.n,
                "n_groups": own.n_groups,
                "seeds": own.seeds,
                "difference": measured["estimate"],
                **{key: measured[key] for key in ("low", "high", "spread")},
            }
        )
    return pd.DataFrame(rows)


def questions(plain: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """question, first, second, estimate, low, high (bits per byte, below 0: the first is better),
    spread, seeds, verdict, reason (why not decided), paper."""
    rows = []
    for question, preset, other, paper in comparison.QUESTIONS:
        pair = f"mini-{preset}", f"mini-{other}"
        names = {"first": comparison.NAMES[pair[0]], "second": comparison.NAMES[pair[1]]}
        measured = difference(plain, documents, *pair)
        rows.append({"question": question, **names, **measured, "paper": paper})
    return pd.DataFrame(rows)


def interventions(seed_0: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """model, variant, value, bits, change, low, high, n: experts masked (value sixteenths), fewer
    activated, or the shared one off or replaced by a routed one."""
    known = seed_0[seed_0.preset.isin(comparison.NAMES)]
    table = variant_table(known, documents)
    parts = table.variant.str.extract(r"^(\D+?) ?(\d+)?(?:/16)?$")
    table.insert(0, "model", table.preset.map(comparison.NAMES))
    table.insert(2, "value", parts[1].astype("Int64"))
    return table.assign(variant=parts[0]).drop(columns="preset")


def name_of(folder: Path) -> tuple[str, int]:
    preset, _, seed = folder.name.rpartition(".")
    return preset, int(seed)


def described(folder: Path) -> dict[str, object]:
    preset, seed = name_of(folder)
    config, counted = PRESETS[preset](), count(PRESETS[preset]())
    lines = TrainingFolder(folder).log.read_text(encoding="utf-8").splitlines()
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


def diagnosed(folder: Path, preset: str) -> pd.DataFrame:
    frame = pd.read_parquet(DOCUMENTS)
    with np.load(folder / "results.npz") as results:
        tokens_NLE = results["tokens_NLE"]
    unit_N = units(frame.domain.tolist(), frame.group.tolist())
    groups = frame.iloc[np.unique(unit_N)]
    domain_id_N = pd.Index(DOMAINS).get_indexer(pd.Index(groups.domain))
    low_N = (frame.source + "/" + frame.sublabel).map(is_low_resource).to_numpy()
    low_NLE = summed(tokens_NLE[low_N], unit_N[low_N])
    table = diagnostics(
        metric_table(summed(tokens_NLE, unit_N), domain_id_N, domains=DOMAINS),
        metric_table(low_NLE, np.zeros(len(low_NLE), dtype=int), domains=["low-resource"]),
        sample=(len(frame), len(groups)),
        low_sample=(int(low_N.sum()), len(low_NLE)),
    )
    return table.assign(preset=preset)


if __name__ == "__main__":
    main()
