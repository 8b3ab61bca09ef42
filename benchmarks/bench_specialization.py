"""The same held-out texts through our model and two of transformers: their traces, which are
shipped, and what the statistics of the app find in them.

    python -m benchmarks.bench_specialization traces runs/qwen3_moe runs/olmoe
    python -m benchmarks.bench_specialization tables
    python -m benchmarks.bench_specialization untrained runs/qwen3_moe runs/olmoe

`traces` writes a trace of each model and models.csv to data/specialization/, `tables` what the page
Comparison shows, `untrained` the same of the models before their first step. The folders are those
of benchmarks/training/train_transformers.py.
"""

import argparse
import json
import platform
import shutil
import tempfile
import time
from math import prod
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import torch
import transformers
from safetensors import safe_open

from analysis import arrays, queries
from analysis.domain_counts import ALL_LAYERS
from analysis.gate_entropy import gate_entropy_table
from analysis.information_table import information_row
from analysis.significance import specialists
from app import evidence, sample, workspace
from app.studies import statistics
from app.studies.reader import CHECKPOINT, load_tracer
from app.studies.statistics import Groups
from app.trace import Trace, open_trace
from app.views.comparison import families
from benchmarks.small_traces import capture, compact
from data.labels import ANY
from data.routing import DOMAINS
from data.strict_json import read_object
from model.checkpoint import save_model
from model.config_file import load_config
from model.fingerprint import is_transformers
from model.transformer import Transformer

LARGEST = 3_000_000  # bytes of a trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("traces", "tables", "untrained"))
    parser.add_argument("folders", type=Path, nargs="*", help="Qwen3-MoE, then OLMoE")
    arguments = parser.parse_args()
    if arguments.step == "tables":
        tables()
    else:
        step = {"traces": traces, "untrained": untrained}[arguments.step]
        step(dict(zip(families.TITLES, [CHECKPOINT, *arguments.folders], strict=True)))
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, DuckDB {duckdb.__version__}"
    )


def traces(folders: dict[str, Path]) -> None:
    families.FOLDER.mkdir(exist_ok=True)
    rows = []
    for name, folder in folders.items():
        started = time.perf_counter()
        tracer = load_tracer(folder)
        target = families.trace_path(name)
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch) / target.name
            captured = capture(tracer, whole)
            compact(whole, Path(scratch) / "compact.duckdb")
            shutil.copyfile(Path(scratch) / "compact.duckdb", target)
        size = target.stat().st_size
        print(f"{name}: {captured:,} tokens, {size:,} bytes, {time.perf_counter() - started:.0f} s")
        if size > LARGEST:
            raise SystemExit(f"{target} is larger than {LARGEST:,} bytes; take fewer tokens")
        rows.append({"model": name, **described(folder, open_trace(workspace.trace_file(target)))})
    write("models", pd.DataFrame(rows))


def described(folder: Path, trace: Trace) -> dict[str, object]:
    """A row of models.csv."""
    config = read_object(folder / "config.json", remedy="train the model again")
    layers, first = trace.info.layers, trace.info.layers[0]
    sizes = weights(folder)
    total, routed = sum(sizes.values()), sum(n for name, n in sizes.items() if is_routed(name))
    assert first.top_k is not None
    last = json.loads((folder / "train_log.jsonl").read_text().splitlines()[-1])
    return {
        "layers": config.get("num_hidden_layers") or config["num_layers"],
        "moe_layers": len(layers),
        "hidden_dim": config.get("hidden_size") or config["hidden_dim"],
        "expert_dim": expert_dim(config),
        "experts": first.num_experts,
        "top_k": first.top_k,
        "shared_experts": first.num_shared_experts,
        "scoring": first.scoring,
        "weighting": first.weighting,
        "parameters": total,
        "active_parameters": total
        - routed * (first.num_experts - first.top_k) // first.num_experts,
        "steps": last["step"],
        "planned_steps": read_object(folder / "train_config.json", remedy="train again")["steps"],
        "tokens_trained": last["tokens"],
        **bits(folder),
        "n_documents": trace.info.num_documents,
        "n_groups": int(sample.by_domain(trace).n_groups.sum()),
        "n_tokens": trace.info.num_tokens,
    }


def weights(folder: Path) -> dict[str, int]:
    """Numbers in each tensor of the weights."""
    sizes = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.offset_keys():
                sizes[name] = prod(file.get_slice(name).get_shape())
    return sizes


def is_routed(name: str) -> bool:
    return ".experts." in name


def expert_dim(config: dict[str, Any]) -> int:
    names = ("expert_dim", "moe_intermediate_size", "intermediate_size")
    return next(int(config[name]) for name in names if name in config)


def bits(folder: Path) -> dict[str, float]:
    """Bits per byte of the held-out split; ours stand beside those of a dense model."""
    stored = read_object(folder / "evaluation.json", remedy="train the model again")
    of_model = stored.get("moe", stored)
    return {f"bits_{domain}": of_model[domain] for domain in (*DOMAINS, "all")}


def tables() -> None:
    """What the app's own statistics find in each trace."""
    found: dict[str, list[pd.DataFrame]] = {"measures": [], "domains": [], "lifts": []}
    for name in families.TITLES:
        trace = open_trace(workspace.trace_file(families.trace_path(name)))
        for table, rows in of_trace(trace).items():
            rows.insert(0, "model", name)
            found[table].append(rows)
    for table, parts in found.items():
        write(table, pd.concat(parts, ignore_index=True))


def of_trace(trace: Trace) -> dict[str, pd.DataFrame]:
    whole, by_layer = evidence.expert_counts(trace)
    domains = pd.concat([whole.assign(layer_id=ALL_LAYERS), by_layer], ignore_index=True)
    measures = [
        preferring(trace, domains),
        metric(trace, "information_share"),
        beyond_the_token(trace),
        metric(trace, "max_violation"),
        gate_entropy(trace),
    ]
    kept = ["layer_id", "domain", "experts", "share", "low", "high", "null", "p", "q"]
    return {
        "measures": pd.concat(measures, ignore_index=True)[[*families.MEASURE_COLUMNS]],
        "domains": domains[[*kept, "significant", "n_groups", "note"]],
        "lifts": highest_lifts(evidence.lifts(trace)),
    }


def preferring(trace: Trace, domains: pd.DataFrame) -> pd.DataFrame:
    """The share of experts that prefer some domain, of all layers and by layer."""
    with trace.cursor() as con:
        counts = statistics.counts(Groups.of(con, trace.info))
    rows = counts[counts.domain == ANY].set_index("layer_id")
    labelled = domains[domains.domain.isin(trace.domains)]
    experts = labelled.groupby("layer_id").experts.sum().rename("estimate")
    sizes_L = trace.info.layer_sizes
    size = pd.Series({ALL_LAYERS: sizes_L.sum(), **dict(enumerate(sizes_L))})
    rows = rows.join(experts)
    for column in ("estimate", "low", "high", "null"):
        rows[column] = rows[column] / size.loc[rows.index]
    return rows.reset_index().assign(measure="preferring")


def metric(trace: Trace, name: str) -> pd.DataFrame:
    """A figure of evidence.metrics(), and its mean over layers as of mean_over_layers()."""
    table = evidence.metrics(trace)
    return with_mean(table[table.metric == name]).assign(measure=name)


def beyond_the_token(trace: Trace) -> pd.DataFrame:
    """What the domain tells once the token is known, nats per choice, less what chance gives."""
    with trace.cursor() as con:
        domains = queries.documents(con).set_index("doc_id").domain
        rows = [
            information_row(
                queries.layer_choices(con, layer_id), domains, trace.info, layer_id=layer_id
            )
            for layer_id in trace.layers
        ]
    table = pd.DataFrame(rows).drop(columns="null")
    table = table.rename(columns={"beyond": "estimate", "reason": "note"})
    return with_mean(table.assign(null=0.0)).assign(measure="beyond_the_token")


def with_mean(layers: pd.DataFrame) -> pd.DataFrame:
    mean = layers[["estimate", "low", "high", "null"]].astype(float).mean().to_frame().T
    return pd.concat([mean.assign(layer_id=ALL_LAYERS, note=""), layers], ignore_index=True)


def gate_entropy(trace: Trace) -> pd.DataFrame:
    with trace.cursor() as con:
        arrays_of = arrays.group_gate_array(con, trace.info)
    table = gate_entropy_table(*arrays_of, experts_L=trace.info.layer_sizes)
    return table.assign(measure="gate_entropy")


def highest_lifts(lifts: pd.DataFrame) -> pd.DataFrame:
    """A row an expert: the domain of its highest lift, and whether it is a specialist there."""
    best = lifts.loc[
        lifts.dropna(subset="estimate").groupby(["layer_id", "expert_id"]).estimate.idxmax()
    ]
    keys = ["layer_id", "expert_id", "domain"]
    sure = pd.MultiIndex.from_frame(specialists(lifts)[keys])
    best = best.assign(
        lift=2**best.estimate, specialist=pd.MultiIndex.from_frame(best[keys]).isin(sure)
    )
    return best[[*keys, "lift", "q", "specialist"]]


def untrained(folders: dict[str, Path]) -> None:
    """controls.csv: means over layers, and the share of experts that are specialists (proven)."""
    parts = []
    for name, folder in folders.items():
        with tempfile.TemporaryDirectory() as scratch:
            fresh, path = Path(scratch) / name, Path(scratch) / f"{name}.duckdb"
            initialize(folder, fresh)
            capture(load_tracer(fresh), path)
            found = of_trace(open_trace(workspace.trace_file(path)))
        measures = found["measures"]
        proven = {"measure": "proven", "estimate": found["lifts"].specialist.mean()}
        rows = [measures[measures.layer_id == ALL_LAYERS], pd.DataFrame([proven])]
        parts.append(pd.concat(rows, ignore_index=True).assign(model=name))
    table = pd.concat(parts, ignore_index=True)
    write("controls", table[["model", "measure", "estimate", "low", "high", "null", "p"]])


def initialize(folder: Path, fresh: Path) -> None:
    """The architecture of a folder as it is before the first step, in another."""
    if is_transformers(folder):
        torch.manual_seed(0)
        config = transformers.AutoConfig.from_pretrained(folder)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(fresh)
    else:
        model = Transformer(load_config(folder))
        model.initialize(seed=0)
        save_model(model, fresh, dtype=torch.float32)
    for path in folder.glob("tokenizer*.json"):
        shutil.copy(path, fresh)


def write(name: str, table: pd.DataFrame) -> None:
    table.to_csv(families.FOLDER / f"{name}.csv", index=False, float_format="%.5g")
    shown = table[table.layer_id == ALL_LAYERS] if "layer_id" in table else table
    print(f"\n{name}\n{(shown.T if name == 'models' else shown).to_string()}")


if __name__ == "__main__":
    main()
