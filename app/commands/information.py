"""`routescope information`: what the domain tells beyond the token, beside the trace."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from app.commands.findings import print_findings
from data.strict_json import json_text


def information(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure whether experts follow the domain beyond what the token alone explains.

    Written beside the trace: NAME.information.parquet and NAME.vocabulary.parquet (how closely
    experts follow the token).

    Example: routescope information traces/demo.duckdb
    """
    import pandas as pd

    from analysis import arrays, queries
    from analysis.conditional import PERMUTATIONS
    from analysis.information_table import information_row, with_q
    from analysis.vocabulary_rows import vocabulary_rows
    from app import sidecars
    from data.sidecar import require_replaceable, write_sidecar
    from data.store import open_trace

    start = time.perf_counter()
    rows = []
    with open_trace(trace) as con:
        print_findings(con)
        info = queries.trace_info(con)
        for line in require_replaceable(trace, *sidecars.BY_INFORMATION, of=info):
            print(line, file=sys.stderr)

        def told(stage: int) -> None:
            what = ("words", "domains")[stage // info.num_layers]
            line = (
                f"stage {stage + 1}/{2 * info.num_layers}: {what}, layer {stage % info.num_layers}"
            )
            print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

        words = vocabulary_rows(con, told=told)
        write_sidecar(trace, sidecars.VOCABULARY, words, {}, of=info)
        domains = queries.documents(con).set_index("doc_id").domain
        for layer_id in range(info.num_layers):
            told(info.num_layers + layer_id)
            choices = arrays.layer_sample(con, info, layer_id)
            rows.append(information_row(choices, domains, info, layer_id=layer_id))
    table = with_q(pd.DataFrame(rows))
    parameters = {"permutations": PERMUTATIONS}
    path = write_sidecar(trace, sidecars.INFORMATION, table, parameters, of=info)
    seconds = round(time.perf_counter() - start, 1)
    if as_json:
        print(json_text({"seconds": seconds, "file": path.name, "layers": len(table)}))
    else:
        print(f"done in {seconds} s: {path.name}")
