"""Tables of the trainings of benchmarks/training/train_stages.py.

    python benchmarks/bench_stages.py prepare corpus
    python benchmarks/bench_stages.py pack runs/stages

`prepare` writes the held-out texts with typos, `pack` what the repository ships of the trainings.
W = windows, S = positions, P = tokens that are the same in both.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import Encoding

from analysis.comparison import bits_table, difference
from analysis.domain_counts import ALL_LAYERS, ANY, domain_counts
from analysis.metric_intervals import metric_table
from analysis.specialization import NO_DOMAIN, NONE, TOO_FEW, TOO_LITTLE, expert_domain
from analysis.stability import flipped_share, flipped_share_null
from app.studies.reader import CHECKPOINT, HELDOUT
from data.routing import DOMAINS
from data.tokenizer import load_tokenizer
from data.tokens import END_OF_TEXT_ID
from data.training_folder import TrainingFolder
from data.typos import with_typos

WINDOW = 512
DOCUMENTS = CHECKPOINT.parent / "comparison" / "documents.parquet"  # of bench_comparison prepare
STAGES = CHECKPOINT.parent / "stages"
REFERENCE = "three-stages"
SHARED = "32-128"  # limits under which trainings are compared
LIMITS = ("own", "8-32", "32-128", "128-256")
NUM_EXPERTS = 256
THINNED = 8  # of the followed tokens one in so many is shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("prepare", "pack"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.folder)
    else:
        pack(arguments.folder)


def prepare(corpus: Path) -> None:
    """typos.npz: the first window of every text, clean and mistyped, and which tokens pair up."""
    texts = pq.read_table(HELDOUT, columns=["doc_id", "text"]).to_pandas().sort_values("doc_id")
    encoder = load_tokenizer(CHECKPOINT / "tokenizer.json")
    clean_WS = np.full((len(texts), WINDOW), END_OF_TEXT_ID, dtype=np.uint16)
    typos_WS, pairs = clean_WS.copy(), []
    for row, text in enumerate(texts.text):
        clean, typos = encoder.encode(text), encoder.encode(with_typos(text, seed=row))
        for ids_WS, encoded in ((clean_WS, clean), (typos_WS, typos)):
            ids = encoded.ids[: WINDOW - 1]  # after the end-of-text id that begins every document
            ids_WS[row, 1 : 1 + len(ids)] = ids
        pairs += [(row, a, b) for a, b in paired(clean, typos) if max(a, b) < WINDOW]
    np.savez_compressed(
        corpus / "typos.npz",
        clean_WS=clean_WS,
        typos_WS=typos_WS,
        document_W=texts.doc_id.to_numpy(np.int32),
        pairs=np.array(pairs, dtype=np.uint16),
    )
    print(f"{len(texts)} windows, {len(pairs)} tokens that follow a typo and are none")


def paired(clean: Encoding, typos: Encoding) -> list[tuple[int, int]]:
    """Positions of the tokens of the same text at the same place, after the first typo."""
    place = {
        (offsets, token_id): position
        for position, (offsets, token_id) in enumerate(
            zip(typos.offsets, typos.ids, strict=True), 1
        )
    }
    keys = list(zip(clean.offsets, clean.ids, strict=True))
    first = next((position for position, key in enumerate(keys) if key not in place), len(keys))
    return [
        (position, place[key])
        for position, key in enumerate(keys, 1)
        if position > first and key in place
    ]


def pack(runs: Path) -> None:
    """Print the tables; put what the page Training shows of seed 0 into data/stages/."""
    folders = sorted(path.parent for path in runs.glob("*/results.npz"))
    documents = pd.read_parquet(DOCUMENTS)
    results = {folder: dict(np.load(folder / "results.npz")) for folder in folders}
    domain_id_N = pd.Index(DOMAINS).get_indexer(pd.Index(documents.domain))
    losses = pd.concat([losses_of(folder, arrays) for folder, arrays in results.items()])
    own = losses[losses.limits == "own"]
    bits = bits_table(own, documents)
    print_table("bits per byte", bits.pivot(index="preset", columns="domain", values="estimate"))
    print_table("limits", limits_table(losses, documents))
    print_table("differences from three-stages", differences(own, documents))
    print_table("runs", pd.DataFrame([described(*item, domain_id_N) for item in results.items()]))
    print_table(
        "specialization", pd.concat(special(*item, domain_id_N) for item in results.items())
    )
    print_table("stability", pd.concat(stability(*item, domain_id_N) for item in results.items()))
    print_table(
        "experts by domain", pd.concat(counts(*item, domain_id_N) for item in results.items())
    )
    print_table("mean k", pd.concat(mean_k(*item) for item in results.items()))
    for folder in folders:
        if folder.name.endswith(".0"):
            ship(folder, bits, STAGES / folder.name.removesuffix(".0"))


def print_table(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}\n{table.to_string(float_format=lambda x: f'{x:.4f}')}")


def name_of(folder: Path) -> dict[str, str | int]:
    preset, _, seed = folder.name.rpartition(".")
    return {"preset": preset, "seed": int(seed)}


Arrays = dict[str, np.ndarray]


def losses_of(folder: Path, arrays: Arrays) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"limits": limits, "doc_id": np.arange(len(nats_N)), "nats": nats_N})
        for limits, nats_N in ((key[:-7], arrays[key]) for key in arrays if key.endswith("|nats_N"))
    ).assign(**name_of(folder))


def limits_table(losses: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """Bits per byte under the limits of every stage."""
    tables = [
        bits_table(part, documents).query("domain == 'all'").assign(limits=limits)
        for limits, part in losses.groupby("limits", sort=False)
    ]
    return pd.concat(tables).pivot(index="preset", columns="limits", values="estimate")


def differences(own: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"preset": preset, "domain": domain}
        | difference(own, documents, preset, REFERENCE, domain=domain)
        for preset in own.preset.unique()
        for domain in ("all", *DOMAINS)
        if preset != REFERENCE
    ]
    return pd.DataFrame(rows)


def log_of(folder: Path) -> pd.DataFrame:
    return pd.read_json(TrainingFolder(folder).log, lines=True)


def described(folder: Path, arrays: Arrays, domain_id_N: np.ndarray) -> dict[str, object]:
    """Cost and balance of a training; the seconds are those of its steps, two trainings a GPU."""
    log = log_of(folder)
    seconds = log.tokens.diff().fillna(log.tokens) / log.tokens_per_second
    load_LE = arrays["own|tokens_NLE"].sum(0, dtype=np.int64)
    return name_of(folder) | {
        "steps": log.step.iloc[-1],
        "tokens": log.tokens.iloc[-1],
        "seconds": seconds.sum(),
        "max_violation": (load_LE.max(-1) / load_LE.mean(-1) - 1).mean(),
        "worst layer": (load_LE.max(-1) / load_LE.mean(-1) - 1).max(),
    }


def special(folder: Path, arrays: Arrays, domain_id_N: np.ndarray) -> pd.DataFrame:
    """Means over layers at the limits of the middle stage, which all trainings share."""
    table = metric_table(arrays[f"{SHARED}|tokens_NLE"], domain_id_N, domains=DOMAINS)
    means = table.groupby("metric")[["estimate", "low", "high", "null"]].mean()
    return (
        means.loc[["information_share", "distinct_share"]].assign(**name_of(folder)).reset_index()
    )


def stability(folder: Path, arrays: Arrays, domain_id_N: np.ndarray) -> pd.DataFrame:
    rows = []
    for limits in LIMITS:
        null = flipped_share_null(k_of(arrays, limits).mean(), NUM_EXPERTS)
        for change in ("noise", "more noise", "typos"):
            key = f"{limits}|{change}"
            share = flipped_share(
                arrays[f"{key}|flipped_NL"], arrays[f"{key}|choices_NL"], domain_id_N
            )
            rows.append(
                name_of(folder) | {"limits": limits, "change": change, **share, "null": null}
            )
    return pd.DataFrame(rows)


def k_of(arrays: Arrays, limits: str) -> np.ndarray:
    """The k of every token and layer, as many as 1,000 quantiles."""
    k_E = arrays[f"{limits}|k_GLE"].sum((0, 1), dtype=np.int64)
    shares = k_E.cumsum() / k_E.sum()
    return 1 + np.searchsorted(shares, (np.arange(1000) + 0.5) / 1000)


def mean_k(folder: Path, arrays: Arrays) -> pd.DataFrame:
    """By domain, and the least, middle and most that 98 % of the tokens take."""
    rows = []
    for limits in LIMITS:
        k_GE = arrays[f"{limits}|k_GLE"].sum(1, dtype=np.int64)
        means_G = (k_GE * np.arange(1, NUM_EXPERTS + 1)).sum(-1) / k_GE.sum(-1)
        least, middle, most = np.quantile(k_of(arrays, limits), [0.01, 0.5, 0.99])
        by_domain = dict(zip(DOMAINS, means_G, strict=True))
        rows.append(
            name_of(folder)
            | {"limits": limits, "1 %": least, "50 %": middle, "99 %": most}
            | by_domain
        )
    return pd.DataFrame(rows)


def counts(folder: Path, arrays: Arrays, domain_id_N: np.ndarray) -> pd.DataFrame:
    """Experts of each domain as a share of all, over all layers."""
    tables = []
    for limits in ("own", SHARED):
        tokens_NLE = arrays[f"{limits}|tokens_NLE"]
        table = domain_counts(tokens_NLE, domain_id_N, domains=DOMAINS)
        table = table[table.layer_id == ALL_LAYERS].set_index("domain")
        tokens_LEG = np.stack(
            [tokens_NLE[domain_id_N == g].sum(0) for g in range(len(DOMAINS))], -1
        )
        label_LE = expert_domain(tokens_LEG)
        total = label_LE.size
        estimate = {name: (label_LE == g).sum() / total for g, name in enumerate(DOMAINS)}
        estimate[NONE] = (label_LE == NO_DOMAIN).sum() / total
        estimate[TOO_LITTLE] = (label_LE == TOO_FEW).sum() / total
        estimate[ANY] = (label_LE >= 0).sum() / total
        shares = table[["low", "high", "null"]] / total
        tables.append(shares.assign(estimate=pd.Series(estimate), limits=limits, **name_of(folder)))
    return pd.concat(tables).reset_index()


def ship(folder: Path, bits: pd.DataFrame, target: Path) -> None:
    """Log, settings, losses and snapshots, of which fewer tokens are followed."""
    target.mkdir(parents=True, exist_ok=True)
    trained, shipped = TrainingFolder(folder), TrainingFolder(target)
    for path in (trained.log, trained.settings, trained.model_config):
        shutil.copyfile(path, target / path.name)
    own = bits[bits.preset == name_of(folder)["preset"]].set_index("domain").estimate
    shipped.evaluation.write_text(json.dumps(own.to_dict(), indent=2) + "\n")
    with safe_open(trained.snapshots, "np") as file:
        metadata = file.metadata()
    arrays = load_file(trained.snapshots)
    thin = {
        key: array[::THINNED].copy() if key.startswith("chosen_") else array
        for key, array in arrays.items()
    }
    save_file(thin, shipped.snapshots, metadata=metadata)


if __name__ == "__main__":
    main()
