"""`routescope index`: the words of a trace, beside it, for the page Search."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from app.commands.findings import print_findings
from data.strict_json import json_text


def index(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file or a folder of shards.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the words of a trace, and which experts the most frequent of them choose.

    Written beside the trace: NAME.words.parquet and NAME.word_experts.parquet. The page Search then
    reads all occurrences of a word, where it reads those in a sample of the texts else.

    Example: routescope index traces/mine.duckdb
    """
    from analysis import queries
    from app import word_kinds
    from app.studies import word_index
    from data.sidecar import require_replaceable, write_sidecar
    from data.store import open_trace

    start = time.perf_counter()
    progress = sys.stderr if as_json else sys.stdout
    with open_trace(trace) as con:
        print_findings(con)
        info = queries.trace_info(con)
        for line in require_replaceable(trace, *word_kinds.BY_INDEX, of=info):
            print(line, file=sys.stderr)
        print("stage 1/2: counting words", file=progress, flush=True)
        words = word_index.counted_words(con)
        often = word_index.frequent(words, info, queries.domain_k(con)).text.tolist()
        print(f"stage 2/2: experts of {len(often):,} words", file=progress, flush=True)

        def tell(read: int) -> None:
            line = f"{read:,} of {info.num_tokens:,} tokens read"
            print(line, file=progress, flush=True)

        experts = word_index.expert_sums(con, info, often, tell=tell)
    write_sidecar(trace, word_kinds.WORD_EXPERTS, experts, {}, of=info)
    path = write_sidecar(trace, word_kinds.WORDS, words, {}, of=info)
    seconds = round(time.perf_counter() - start, 1)
    if as_json:
        print(json_text({"seconds": seconds, "words": len(words), "summed": len(often)}))
    else:
        print(f"done in {seconds} s: {path.name}, {len(words):,} words")
