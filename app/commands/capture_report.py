"""What a capture says when it is done, or was interrupted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.queries import findings, trace_info
from app import kept
from app.commands.findings import print_report
from app.error_line import is_foreseen, line_of
from data.groups import Grouping
from data.prompts import PromptSummary
from data.store import open_trace
from data.strict_json import json_text
from data.trace_paths import partial_path
from data.words import counted

if TYPE_CHECKING:
    from model.capture import Captured

NOTHING = "nothing was stored"


def summary_figures(captured: "Captured", *, seconds: float, resumed: int = 0) -> dict[str, object]:
    return asdict(captured) | {
        "resumed_documents": resumed,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(captured.tokens / seconds),
    }


def with_summary(
    figures: dict[str, object], summary: PromptSummary, out: Path
) -> dict[str, object]:
    about_prompts = {
        "skipped_rows": summary.skipped,
        "groups": summary.grouping.described(),
        "notes": list(summary.notes),
    }
    return figures | about_prompts | {"path": str(out)}


@contextmanager
def hinting(left: Callable[[], str]) -> Iterator[None]:
    """An error says what it leaves behind, if anything."""
    try:
        yield
    except Exception as error:
        if not is_foreseen(error) or left() == NOTHING:
            raise
        raise ValueError(f"{line_of(error)}; {left()}") from error


def what_is_done(path: Path) -> str:
    partial = partial_path(path)
    if partial.exists():
        return f"{partial} holds what is done: add --resume to continue"
    return NOTHING


def report(figures: dict[str, object], *, grouping: Grouping | None = None, as_json: bool) -> None:
    with open_trace(Path(str(figures["path"]))) as con:
        print_report(findings(con))
        info = trace_info(con)
    if as_json:
        print(json_text(figures))
        return
    print(
        f"{figures['path']}: {counted(figures['documents'], 'document', 'documents')}, "
        f"{counted(figures['tokens'], 'token', 'tokens')} "
        f"in {figures['seconds']} s ({figures['tokens_per_second']:,} tokens/s)"
    )
    for line in kept.in_words(info.config, info.num_layers):
        print(line)
    if figures["resumed_documents"]:
        stored = counted(figures["resumed_documents"], "document", "documents")
        print(f"{stored} had been stored before")
    if lost := figures.get("lost_workers"):
        workers = counted(lost, "worker was lost, and its", "workers were lost, and their")
        print(f"{workers} documents were captured again")
    if cut := figures["truncated_documents"]:
        print(
            f"{counted(cut, 'document was', 'documents were')} longer than the context: "
            f"{counted(figures['truncated_tokens'], 'token', 'tokens')} cut"
        )
    notes = figures.get("notes", [])
    assert isinstance(notes, list)
    for note in notes:
        print(f"note: {note}")
    if grouping and grouping.joined:
        print(grouping.in_words())
