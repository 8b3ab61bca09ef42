"""Prompts through the model of this workspace, as a job, into a trace of their own."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import workspace
from app.jobs.queue import CancelledError, Job
from app.studies.reader import Sampling, Tracer, load_tracer
from data.prompts import Limits, read_documents
from data.report import file_name
from data.routing import Document
from data.store import TraceDescription, TraceStore, partial_path

LIMITS = Limits(documents=500, characters=200_000, total_characters=2_000_000)
SUFFIXES = ("txt", "csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: an unsaved trace."""

    path: Path
    truncated_documents: int
    truncated_tokens: int


def has_model() -> bool:
    return (workspace.checkpoint() / "config.json").is_file()


@st.cache_resource(show_spinner=False)
def _tracer(folder: str, modified_ns: int) -> Tracer:
    return load_tracer(Path(folder))


def tracer() -> Tracer:
    """One model in memory; loaded again only when its folder changes."""
    folder = workspace.checkpoint()
    if not has_model():
        raise ValueError(f"there is no model in {folder}")
    return _tracer(str(folder), (folder / "config.json").stat().st_mtime_ns)


def uploaded_documents(name: str, content: bytes) -> list[Document]:
    """Prompts of an uploaded file. Its name is a label, never a path."""
    suffix = Path(name).suffix.lower().removeprefix(".")
    if suffix not in SUFFIXES:
        raise ValueError(f"{name[:80]!r} is not a {', '.join(SUFFIXES)} file")
    folder = workspace.scratch() / uuid.uuid4().hex
    folder.mkdir()
    path = folder / (file_name(Path(name).stem or "upload") + f".{suffix}")
    path.write_bytes(content)
    try:
        documents = list(read_documents(path, LIMITS))
    finally:
        path.unlink()
        folder.rmdir()
    if not documents:
        raise ValueError(f"{name[:80]} has no prompts")
    return documents


def pasted_document(text: str) -> list[Document]:
    if not text.strip():
        raise ValueError("there is no text to run; type some first")
    if len(text) > LIMITS.characters:
        raise ValueError(f"the text has {len(text):,} characters, at most {LIMITS.characters:,}")
    clean = text.encode("utf-8", "replace").decode()
    return [Document(doc_id=0, text=clean, origin="pasted")]


def run(job: Job, documents: list[Document], sampling: Sampling | None) -> Result:
    """The work of a job: the documents' routing in a trace that is not saved yet."""
    path = workspace.scratch() / f"{uuid.uuid4().hex}.duckdb"
    model = tracer()
    prompts = {"documents": len(documents), "origin": documents[0].origin.split(":")[0]}
    description = model.description("prompts", prompts=prompts, sampling=sampling)
    return capture(job, model, documents, path, description, sampling=sampling)


def capture(
    job: Job,
    model: Tracer,
    documents: Iterable[Document],
    path: Path,
    description: TraceDescription,
    *,
    sampling: Sampling | None = None,
) -> Result:
    """Fill a trace while the job counts; nothing stays of one that was cancelled."""
    from model.capture import CaptureCancelledError

    documents = list(documents)
    job.advance(0, total=len(documents), unit="texts")
    try:
        with TraceStore.create(path, description) as store:
            captured = model.capture(
                documents,
                store,
                sampling=sampling,
                on_progress=lambda tokens, done: _advance(job, tokens, done),
                cancelled=job.stop.is_set,
            )
    except CaptureCancelledError as error:
        partial_path(path).unlink(missing_ok=True)
        raise CancelledError from error
    return Result(path, captured.truncated_documents, captured.truncated_tokens)


def _advance(job: Job, tokens: int, done: int) -> None:
    job.note = f"{tokens:,} tokens"
    job.advance(done)
