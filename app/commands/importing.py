"""`routescope import`: dumps of other tools into a trace."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.commands.capture import Json
from app.commands.findings import print_report
from app.commands.numbers import count_option
from app.commands.progress import progress_bar
from app.commands.signals import leaving, nothing
from app.commands.summarize import Summary, summarize_large
from app.studies.importing import Imported, write
from data.importers.importing import Dump
from data.importers.source import Options
from data.new_trace import MOST_EXPERTS
from data.strict_json import json_text
from data.trace_paths import discard_left_import, require_free
from data.words import counted

LAYERS = ("moe", "all")

Files = Annotated[list[Path], typer.Argument(help="Files of one dump, or folders with them.")]
Out = Annotated[Path | None, typer.Option(help="The trace to write, a .duckdb file.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="A name in docs/formats.md; by default found out."),
]
NumExperts = Annotated[
    int | None,
    count_option("Routed experts of a layer, where the files do not say.", most=MOST_EXPERTS),
]
TopK = Annotated[
    int | None,
    count_option("Experts a token chooses, where the files do not say.", most=MOST_EXPERTS),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="moe: every layer of the files is a MoE layer. all: the dense ones are there too, as "
        "layers that name expert 0 alone."
    ),
]
Tokenizer = Annotated[
    Path | None, typer.Option(help="tokenizer.json, or a folder with one: ids become text.")
]
PhysicalMap = Annotated[
    Path | None,
    typer.Option(help="A map of SGLang or vllm-ascend, where ids name physical experts."),
]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        help="The prompts that were sent, as `routescope capture` reads them: texts, domains and "
        "groups, joined by a column id, else by order.",
    ),
]
DomainFrom = Annotated[
    str | None,
    typer.Option(
        help="origin: the name of the file. folder: the folder it lies in. Or a CSV file of two "
        "columns: the name of a file, or the id of a request, and its domain."
    ),
]
AllowNonfinite = Annotated[
    bool,
    typer.Option("--allow-nonfinite", help="Store weights that are NaN or infinite; pages say so."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read all and print the integrity report; write nothing.")
]


def import_dump(
    files: Files,
    out: Out = None,
    format: Format = None,
    num_experts: NumExperts = None,
    top_k: TopK = None,
    layers: Layers = None,
    tokenizer: Tokenizer = None,
    physical_map: PhysicalMap = None,
    prompts: PromptFile = None,
    domain_from: DomainFrom = None,
    allow_nonfinite: AllowNonfinite = False,
    dry_run: DryRun = False,
    summary: Summary = True,
    as_json: Json = False,
) -> None:
    """Read routing that another engine or tool has recorded into a trace.

    The files stay as they are. What cannot be right in them is named in the integrity report.

    Example: routescope import recorder/ --out traces/served.duckdb --num-experts 64
    """
    if layers not in (None, *LAYERS):
        raise ValueError(f"--layers is {layers!r:.80}; give moe or all")
    if out is None and not dry_run:
        raise ValueError("--out is missing; name the trace to write, or give --dry-run")
    options = Options(
        num_experts=num_experts,
        top_k=top_k,
        layers=layers,
        tokenizer=tokenizer,
        physical_map=physical_map,
        prompts=prompts,
        domain_from=domain_from,
        allow_nonfinite=allow_nonfinite,
    )
    if out is not None:
        discard_left_import(out)
        require_free(out)
    started = time.perf_counter()
    with leaving(nothing), progress_bar("bytes") as advance:
        dump = Dump(files, options, format=format)
        imported = write(dump, None if dry_run else out, on_progress=advance)
    print_report(imported.findings)
    report(imported, None if dry_run else out, time.perf_counter() - started, as_json=as_json)
    if out is not None and not dry_run:
        summarize_large(out, wanted=summary, quiet=as_json)


def report(imported: Imported, out: Path | None, seconds: float, *, as_json: bool) -> None:
    if as_json:
        figures = {"path": out and str(out), **asdict(imported), "seconds": round(seconds, 2)}
        print(json_text(figures))
        return
    size = f"{counted(imported.documents, 'document', 'documents')}, "
    if imported.tokens:
        size += f"{counted(imported.tokens, 'token', 'tokens')}, "
    done = "nothing was written" if out is None else "in the trace"
    print(
        f"{out or 'dry run'}: {imported.format}, {counted(imported.files, 'file', 'files')}, "
        f"{size}{counted(imported.choices, 'choice', 'choices')} in "
        f"{counted(imported.layers, 'layer', 'layers')}, {seconds:.1f} s "
        f"({imported.choices / seconds:,.0f} choices/s); {done}"
    )
