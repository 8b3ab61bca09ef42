"""Which prompts of a file a capture reads, and how its trace says so."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from app.commands.capture_options import Asked
from app.kept import Kept
from data.lines import DEFAULT_LIMITS
from data.new_trace import TraceDescription
from data.prompts import PromptSummary, read_documents, summarize_prompts
from data.routing import Document

RANK = "rank"  # as --part: that of this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Every so many prompts of a file from the first one given, or those of them that a sample
    keeps."""

    file: Path
    summary: PromptSummary
    part: str | None  # I/N, as the trace says it
    first: int
    step: int
    sampled: frozenset[int] | None  # of the whole file; None: all

    def __iter__(self) -> Iterator[Document]:
        for document in read_documents(self.file, joined=self.summary.joined):
            if self._is_read(document.doc_id):
                yield document

    def __len__(self) -> int:
        if self.sampled is None:
            return len(range(self.first, self.summary.documents, self.step))
        return sum(map(self._is_read, self.sampled))

    def _is_read(self, doc_id: int) -> bool:
        wanted = self.sampled is None or doc_id in self.sampled
        return wanted and doc_id % self.step == self.first

    def described(self) -> dict[str, str | int]:
        about: dict[str, str | int] = {"file": self.file.name, "sha256": self.summary.sha256}
        about["skipped_rows"] = self.summary.skipped
        return about if self.part is None else about | {"part": self.part}

    def kept(self, whole: TraceDescription, kept: Kept) -> TraceDescription:
        """Of the trace that is stored, which says what it leaves out of the file."""
        return kept.described(
            whole, documents=self.num_sampled, of_documents=self.summary.documents
        )

    @property
    def num_sampled(self) -> int:
        """Of the whole file."""
        return self.summary.documents if self.sampled is None else len(self.sampled)


def texts_of(file: Path, part: str | None, kept: Kept, *, rank: int = 0, ranks: int = 1) -> Texts:
    """`rank`: of the processes that share the part."""
    place, parts = part_of(part)
    summary = summarize_prompts(file)
    sampled = None
    if kept.sample:
        sampled = kept.sample.doc_ids(read_documents(file), seed=kept.seed)
    return Texts(
        file=file,
        summary=summary,
        part=part,
        first=place + parts * rank,
        step=parts * ranks,
        sampled=sampled,
    )


def part_of(part: str | None) -> tuple[int, int]:
    """(place, parts), the place counted from 0; all is one part."""
    if part is None:
        return 0, 1
    match = re.fullmatch(r"([1-9]\d{0,9})/([1-9]\d{0,9})", part, re.ASCII)
    if match is None or not int(match[1]) <= int(match[2]) <= DEFAULT_LIMITS.documents:
        raise ValueError(
            f"--part is {part[:40]!r}; give I/N, such as 1/4, 2/4, 3/4 and 4/4, with N up to "
            f"{DEFAULT_LIMITS.documents:,}, or `rank` under torchrun"
        )
    return int(match[1]) - 1, int(match[2])


def of_this_rank(asked: Asked) -> Asked:
    """What `--part rank` means in this process, one of several: its part, on its own GPU, into its
    own trace, such as mine.2-of-8.duckdb."""
    names = ("RANK", "WORLD_SIZE")
    values = [os.environ.get(name, "") for name in names]
    numbers = [int(one) for one in values if re.fullmatch(r"\d{1,7}", one, re.ASCII)]
    if len(numbers) < 2 or numbers[0] >= numbers[1]:
        said = ", ".join(f"{name}={value[:20]}" for name, value in zip(names, values, strict=True))
        raise ValueError(
            f"--part rank is for processes that torchrun starts, which numbers them ({said}); "
            "start it so, or give --part I/N"
        )
    rank, ranks = numbers
    part = f"{rank + 1}/{ranks}"
    part_of(part)
    local = os.environ.get("LOCAL_RANK", "")
    choose_gpu(int(local) if re.fullmatch(r"\d{1,7}", local, re.ASCII) else rank)
    name = f"{asked.out.stem}.{rank + 1}-of-{ranks}{asked.out.suffix}"
    return replace(asked, part=part, out=asked.out.with_name(name))


def choose_gpu(place: int) -> None:
    """Of this machine's GPUs the one at a place, for what takes the current one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
