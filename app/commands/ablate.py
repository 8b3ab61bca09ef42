"""`routescope ablate`: does removing a specialist hurt its own domain?"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from analysis import queries
from app.commands.capture import INTERRUPTED, Json
from app.commands.progress import progress_bar
from app.studies import ablation
from app.studies.reader import CHECKPOINT, load_tracer
from data.store import open_trace


def ablate(
    trace: Annotated[Path, typer.Option(help="A trace with labelled texts.")],
    experts: Annotated[
        str | None,
        typer.Option(help="LAYER:EXPERT, comma-separated; by default the clearest specialists."),
    ] = None,
    model: Annotated[
        Path, typer.Option(help="Folder of the model that made the trace.")
    ] = CHECKPOINT,
    top: Annotated[
        int, typer.Option(min=1, help="Without --experts: how many specialists per domain.")
    ] = 1,
    tokens: Annotated[
        int, typer.Option(min=1, help="Minimum number of tokens per domain.")
    ] = 4_000,
    seed: Annotated[int, typer.Option(help="Seed for drawing the documents.")] = 0,
    as_json: Json = False,
) -> None:
    """Leave experts out and measure the loss on their own domain and the others, beside control
    experts of similar load.

    Example: routescope ablate --trace traces/demo.duckdb --experts 3:17,5:2
    """
    with open_trace(trace) as con:
        info = queries.trace_info(con)
        named = None if experts is None else ablation.parse_experts(experts, info)
        ablation.require_usable(model, info)
        tracer = load_tracer(model)
        targets = ablation.targets_of(ablation.lifts(con, info), named, top=top)
        try:
            with progress_bar("batches") as advance:
                rows = ablation.ablate(
                    tracer,
                    con,
                    info,
                    targets,
                    tokens_per_domain=tokens,
                    seed=seed,
                    on_progress=advance,
                )
        except KeyboardInterrupt:
            print("interrupted; nothing was stored", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
    parameters = {"model_sha256": info.model_sha256, "seed": seed, "tokens_per_domain": tokens}
    ablation.store(trace, rows, parameters)
    if as_json:
        print(json.dumps(rows.astype(object).where(rows.notna(), None).to_dict("records")))
        return
    print(
        rows.drop(columns=["controls", "seed"]).to_string(index=False, float_format="{:.4f}".format)
    )
