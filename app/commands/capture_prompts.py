"""Which prompts of a file a capture reads, and how its trace says so."""

import re
from collections.abc import Iterator
from pathlib import Path

from data.lines import DEFAULT_LIMITS
from data.prompts import PromptSummary, read_documents
from data.routing import Document


def every(step: int, prompts: Path, summary: PromptSummary, *, first: int) -> Iterator[Document]:
    """Every so many prompts of the file, from the first one given."""
    documents = read_documents(prompts, joined=summary.joined)
    return (document for document in documents if document.doc_id % step == first)


def described_prompts(
    prompts: Path, summary: PromptSummary, *, part: str | None
) -> dict[str, str | int]:
    described: dict[str, str | int] = {"file": prompts.name, "sha256": summary.sha256}
    described["skipped_rows"] = summary.skipped
    return described if part is None else described | {"part": part}


def part_of(part: str | None) -> tuple[int, int]:
    """(place, parts), the place counted from 0; all is one part."""
    if part is None:
        return 0, 1
    match = re.fullmatch(r"([1-9]\d{0,9})/([1-9]\d{0,9})", part, re.ASCII)
    if match is None or not int(match[1]) <= int(match[2]) <= DEFAULT_LIMITS.documents:
        raise ValueError(
            f"--part is {part[:40]!r}; give I/N, such as 1/4, 2/4, 3/4 and 4/4, with N up to "
            f"{DEFAULT_LIMITS.documents:,}"
        )
    return int(match[1]) - 1, int(match[2])
