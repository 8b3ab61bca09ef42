"""Prompts through a model, as a job, into a trace of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from app import workspace
from app.jobs.worker import Progress
from app.studies.reader import Sampling, Tracer, load_tracer
from data.file_names import file_name
from data.groups import with_groups
from data.lines import Limits
from data.prompt_process import PromptReading, prompt_reading
from data.routing import Document
from data.store import TraceStore

LIMITS = Limits(documents=500, rows=10_000, characters=200_000, total_characters=2_000_000)
MEGABYTES = 32  # of an upload
MODELS = 2  # in memory at once
SUFFIXES = ("txt", "csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: an unsaved trace."""

    path: Path
    truncated_documents: int
    truncated_tokens: int


def has_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


@lru_cache(maxsize=MODELS)
def _tracer(folder: str, modified_ns: int) -> Tracer:
    return load_tracer(Path(folder))


def tracer(folder: Path) -> Tracer:
    """Kept in the memory of a process of jobs; loaded again only when its folder changes."""
    if not has_model(folder):
        raise ValueError(f"there is no model in {folder}")
    return _tracer(str(folder), (folder / "config.json").stat().st_mtime_ns)


@contextmanager
def upload_reading(name: str, content: bytes) -> Iterator[PromptReading]:
    """Reads an uploaded file in a process of its own. Its name is a label, never a path."""
    suffix = Path(name).suffix.lower().removeprefix(".")
    if suffix not in SUFFIXES:
        raise ValueError(f"{name[:80]!r} is not a {', '.join(SUFFIXES)} file")
    if len(content) > MEGABYTES << 20:
        raise ValueError(f"{name[:80]!r} has more than {MEGABYTES} MB; split it")
    with TemporaryDirectory(dir=workspace.scratch()) as folder:
        path = Path(folder) / (file_name(Path(name).stem or "upload") + f".{suffix}")
        path.write_bytes(content)
        with prompt_reading(path, LIMITS) as reading:
            yield reading


def limits_in_words(folder: Path) -> str:
    return (
        f"One file of at most {MEGABYTES} MB with up to {LIMITS.documents:,} prompts in "
        f"{LIMITS.rows:,} rows; a prompt has up to {LIMITS.characters:,} characters, all have "
        f"{LIMITS.total_characters:,}. Of each the model reads the first {_context(folder)}."
    )


def _context(folder: Path) -> str:
    """Of its configuration: the model is not loaded for it."""
    from model.config_file import load_config

    try:
        return f"{load_config(folder).context_length:,} tokens"
    except ValueError:
        return "tokens, as many as its context holds"


def pasted_document(text: str) -> list[Document]:
    if not text.strip():
        raise ValueError("there is no text to run; type some first")
    if len(text) > LIMITS.characters:
        raise ValueError(f"the text has {len(text):,} characters, at most {LIMITS.characters:,}")
    clean = text.encode("utf-8", "replace").decode()
    return [Document(doc_id=0, text=clean, origin="pasted")]


def run(
    progress: Progress, model: Path, documents: list[Document], sampling: Sampling | None
) -> Result:
    """The routing of documents in a trace that is not saved yet."""
    path = progress.folder / "run.duckdb"
    reader = tracer(model)
    prompts = {"documents": len(documents), "origin": documents[0].origin.split(":")[0]}
    documents, grouping = with_groups(documents)
    description = reader.description(
        "prompts", prompts=prompts, grouping=grouping, sampling=sampling
    )
    count_texts(progress, 0, 0, len(documents))
    with TraceStore.create(path, description) as store:
        captured = reader.capture(
            documents,
            store,
            sampling=sampling,
            on_progress=lambda tokens, done: count_texts(progress, tokens, done, len(documents)),
            cancelled=progress.stop.is_set,
        )
    return Result(path, captured.truncated_documents, captured.truncated_tokens)


def count_texts(progress: Progress, tokens: int, done: int, total: int) -> None:
    progress.tell(note=f"{tokens:,} tokens", done=done, total=total, unit="texts")
