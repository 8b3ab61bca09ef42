"""Prompts through a model, as a job, into a trace of their own."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import workspace
from app.jobs.queue import Job
from app.studies.reader import Sampling, Tracer, load_tracer
from data.groups import with_groups
from data.lines import Limits
from data.prompts import read_documents
from data.report import file_name
from data.routing import CancelledError, Document
from data.store import TraceStore, discard_partial

LIMITS = Limits(documents=500, characters=200_000, total_characters=2_000_000)
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


@st.cache_resource(max_entries=MODELS, show_spinner=False)
def _tracer(folder: str, modified_ns: int) -> Tracer:
    return load_tracer(Path(folder))


def tracer(folder: Path) -> Tracer:
    """Kept in memory; loaded again only when its folder changes."""
    if not has_model(folder):
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


def run(job: Job, model: Path, documents: list[Document], sampling: Sampling | None) -> Result:
    """The routing of documents in a trace that is not saved yet; none if it was cancelled."""
    path = workspace.scratch() / f"{uuid.uuid4().hex}.duckdb"
    reader = tracer(model)
    prompts = {"documents": len(documents), "origin": documents[0].origin.split(":")[0]}
    documents, grouping = with_groups(documents)
    description = reader.description(
        "prompts", prompts=prompts, grouping=grouping, sampling=sampling
    )
    count_texts(job, 0, 0, len(documents))
    try:
        with TraceStore.create(path, description) as store:
            captured = reader.capture(
                documents,
                store,
                sampling=sampling,
                on_progress=lambda tokens, done: count_texts(job, tokens, done, len(documents)),
                cancelled=job.stop.is_set,
            )
    except CancelledError:
        discard_partial(path)
        raise
    return Result(path, captured.truncated_documents, captured.truncated_tokens)


def count_texts(job: Job, tokens: int, done: int, total: int) -> None:
    job.note = f"{tokens:,} tokens"
    job.advance(done, total=total, unit="texts")
