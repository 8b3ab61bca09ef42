"""What the statistics find where there is nothing to find: shuffled labels, an untrained model.

    python benchmarks/negative_controls.py

The same held-out texts as the demo trace, which must be there. Prints a table.
"""

import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import torch
from scipy import __version__ as scipy_version

from analysis import arrays, queries
from analysis.information_table import information_row
from analysis.metric_intervals import metric_table
from analysis.queries import TraceInfo
from analysis.replication import replication
from analysis.significance import MAX_Q, lift_table, specialists
from app.commands.demo import demo
from app.studies.reader import CHECKPOINT
from data.store import open_trace
from model.checkpoint import save_model
from model.config_file import load_config
from model.transformer import Transformer

TRACE = Path("traces/demo.duckdb")
SHUFFLES = 20
INITIALIZATIONS = (0, 1, 2)


def main() -> None:
    with open_trace(TRACE) as con:
        info = queries.trace_info(con)
        tokens_NLE, domain_id_N = arrays.group_array(con, info)
        rows = {"as it is": found(tokens_NLE, domain_id_N, info) | beyond_words(con, info)}
    for seed in range(SHUFFLES):
        shuffled_N = np.random.default_rng(seed).permutation(domain_id_N)
        rows[f"labels shuffled, seed {seed}"] = found(tokens_NLE, shuffled_N, info)
    for seed in INITIALIZATIONS:
        with untrained(seed) as con:
            info = queries.trace_info(con)
            figures = found(*arrays.group_array(con, info), info) | beyond_words(con, info)
        rows[f"untrained, seed {seed}"] = figures
    table = pd.DataFrame(rows).T
    print(f"Python {platform.python_version()}, torch {torch.__version__}, scipy {scipy_version}\n")
    print(table.to_string(float_format="{:.4g}".format))
    shuffled = table[table.index.str.startswith("labels")]
    print(
        f"\nlabels shuffled {SHUFFLES} times: {shuffled.significant.gt(0).sum()} with a discovery"
    )
    print(shuffled[["significant", "specialists", "information_share"]].describe().to_string())


def found(tokens_NLE: np.ndarray, domain_id_N: np.ndarray, info: TraceInfo) -> dict[str, float]:
    """Counts over all cells; information_share is the mean over layers, less what chance adds."""
    lifts = lift_table(tokens_NLE, domain_id_N, domains=info.domains)
    metrics = metric_table(tokens_NLE, domain_id_N, domains=info.domains)
    share = metrics[metrics.metric == "information_share"]
    repeated = replication(tokens_NLE, domain_id_N, domains=info.domains).set_index("check")
    return {
        "tested": int(lifts.q.notna().sum()),
        "significant": int((lifts.q < MAX_Q).sum()),
        "specialists": len(specialists(lifts)),
        "largest_lift": float(2 ** lifts.estimate.max()),
        "information_share": float(share.estimate.mean()),
        "its_null": float(share.null.mean()),
        "split_half": repeated.estimate["split_half"],
        "unseen": repeated.estimate["unseen_documents"],
    }


def beyond_words(con: duckdb.DuckDBPyConnection, info: TraceInfo) -> dict[str, float]:
    """Mean over layers of I(expert; domain) and of I(expert; domain | token id), nats a choice."""
    domains = queries.documents(con).set_index("doc_id").domain
    layers = [
        information_row(queries.layer_choices(con, layer), domains, info, layer_id=layer)
        for layer in range(info.num_layers)
    ]
    table = pd.DataFrame(layers)
    return {
        "information": float((table.information - table.information_null).mean()),
        "beyond_the_token": float(table.beyond.mean()),
        "layers_p_below_0.05": int(((table.p < 0.05) & (table.beyond > 0)).sum()),
    }


@contextmanager
def untrained(seed: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """The demo trace of the shipped architecture as it was before its first step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = Transformer(load_config(CHECKPOINT))
        model.initialize(seed=seed)
        save_model(model, folder, dtype=torch.float32)
        shutil.copy(CHECKPOINT / "tokenizer.json", folder)
        demo(out=folder / "untrained.duckdb", model=folder)
        with open_trace(folder / "untrained.duckdb") as con:
            yield con


if __name__ == "__main__":
    main()
