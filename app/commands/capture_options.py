"""The options of `routescope capture`, but for those of loading and sampling."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.numbers import count_option, seed_option

Prompts = Annotated[
    Path,
    typer.Argument(
        help="A UTF-8 file. txt: one prompt per line. csv, jsonl, parquet: a column `text` or "
        "`prompt`, `domain` if there are labels, and `group` if several prompts are of one source, "
        "such as a work or an author."
    ),
]
Out = Annotated[Path, typer.Option(help="The trace to write, a .duckdb file.")]
Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Give a model of transformers each prompt as a user's message, in its chat template.",
    ),
]
Generate = Annotated[
    int, count_option("Number of tokens to continue every prompt by; 0 only reads it.", least=0)
]
Seed = Annotated[int, seed_option("Seed of the continuation.")]
Part = Annotated[
    str | None,
    typer.Option(
        help="I/N: every N-th prompt, starting with the I-th; `routescope merge` joins the parts."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished trace.")]
AllowNonfinite = Annotated[
    bool,
    typer.Option(
        "--allow-nonfinite",
        help="Store tokens whose logits, weights or losses are NaN or infinite; every page of the "
        "trace then says so.",
    ),
]
Parallel = Annotated[
    bool,
    typer.Option(
        "--parallel",
        help="Under torchrun: spread the experts over its processes, each reads its part of the "
        "prompts.",
    ),
]
