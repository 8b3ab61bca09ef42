"""Prompts through a model, as a job, into a trace of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.jobs import models
from app.jobs.worker import Progress
from app.studies.reader import Sampling
from data.file_names import file_name
from data.groups import with_groups
from data.lines import Limits
from data.prompt_process import prompt_reading
from data.prompts import Prompts
from data.routing import Document
from data.store import TraceStore

LIMITS = Limits(documents=500, rows=10_000, characters=200_000, total_characters=2_000_000)
MEGABYTES = 32  # of an upload
SUFFIXES = ("txt", "csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: an unsaved trace."""

    path: Path
    documents: int
    truncated_documents: int
    truncated_tokens: int
    notes: tuple[str, ...]  # of the file that was read
    model: str  # its name
    texts: Mapping[int, str]  # by doc_id, as the user gave them
    sampling: Sampling | None
    chat: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of prompts. Its name is a label, never a path."""

    name: str
    content: bytes

    def __post_init__(self) -> None:
        if self.suffix not in SUFFIXES:
            raise ValueError(f"{self.name[:80]!r} is not a {', '.join(SUFFIXES)} file")
        if len(self.content) > MEGABYTES << 20:
            raise ValueError(f"{self.name[:80]!r} has more than {MEGABYTES} MB; split it")

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower().removeprefix(".")

    def read(self, progress: Progress) -> Prompts:
        """In a process of its own. ValueError: see `PromptReading.prompts`."""
        name = file_name(Path(self.name).stem or "upload")
        path = progress.folder / f"{name}.{self.suffix}"
        path.write_bytes(self.content)
        with prompt_reading(path, LIMITS) as reading:
            while not reading.ended(wait=0.2):
                progress.checkpoint()
                progress.tell(note=f"reading the file, {reading.seconds:.0f} s")
            return reading.prompts()


def limits_in_words(context: int | None) -> str:
    """`context`: tokens that the model reads; None: not known yet."""
    first = "tokens, as many as its context holds" if context is None else f"{context:,} tokens"
    return (
        f"One file of at most {MEGABYTES} MB with up to {LIMITS.documents:,} prompts in "
        f"{LIMITS.rows:,} rows; a prompt has at most {LIMITS.characters:,} characters, all of "
        f"them {LIMITS.total_characters:,}. Of each the model reads the first {first}."
    )


def pasted(text: str) -> Prompts:
    if not text.strip():
        raise ValueError("there is no text to run; type some first")
    if len(text) > LIMITS.characters:
        raise ValueError(f"the text has {len(text):,} characters, at most {LIMITS.characters:,}")
    clean = text.encode("utf-8", "replace").decode()
    return Prompts([Document(doc_id=0, text=clean, origin="pasted")], ())


def run(
    progress: Progress,
    model: Path,
    prompts: Prompts | Upload,
    sampling: Sampling | None,
    *,
    name: str = "",
    chat: bool = False,
) -> Result:
    """The routing of prompts in a trace that is not saved yet. `name`: of the model, on the page;
    `chat`: each prompt is a message of a user."""
    read = prompts.read(progress) if isinstance(prompts, Upload) else prompts
    documents, grouping = with_groups(read.documents)
    reader = models.tracer(progress, model, chat=chat)
    progress.tell(note="checking which weights these are")
    origin = documents[0].origin.split(":")[0]
    source = {"documents": len(documents), "origin": origin, "model": name, "chat": chat}
    description = reader.description(
        "prompts", prompts=source, grouping=grouping, sampling=sampling
    )
    count_texts(progress, 0, 0, len(documents))
    path = progress.folder / "run.duckdb"
    with TraceStore.create(path, description) as store:
        captured = reader.capture(
            documents,
            store,
            sampling=sampling,
            on_progress=lambda tokens, done: count_texts(progress, tokens, done, len(documents)),
            cancelled=progress.stop.is_set,
        )
    truncated = captured.truncated_documents, captured.truncated_tokens
    return Result(
        path,
        len(documents),
        *truncated,
        notes=tuple(read.notes),
        model=name,
        texts={document.doc_id: document.text for document in documents},
        sampling=sampling,
        chat=chat,
    )


def count_texts(progress: Progress, tokens: int, done: int, total: int) -> None:
    progress.tell(note=f"{tokens:,} tokens", done=done, total=total, unit="texts")
