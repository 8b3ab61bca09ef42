"""Prompts through a model, as a job, into a run of their own."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from app import prompt_runs
from app.jobs import models
from app.jobs.live import Telling
from app.jobs.worker import Progress
from app.prompt_runs import TRACE, Run
from app.studies.reader import Sampling, Tracer
from data.file_names import file_name
from data.groups import with_groups
from data.lines import Limits
from data.new_trace import TraceDescription
from data.prompt_process import prompt_reading
from data.prompt_rows import are_separated, separate_texts
from data.prompts import Prompts
from data.routing import Document
from data.store import TraceStore
from data.words import counted

if TYPE_CHECKING:
    from model.capture import Captured

LIMITS = Limits(documents=500, rows=10_000, characters=200_000, total_characters=2_000_000)
MEGABYTES = 32  # of an upload
SUFFIXES = ("txt", "csv", "jsonl", "parquet")


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

    def described(self) -> str:
        """What is run of it, as far as that is known before it is read."""
        if self.suffix != "txt":
            return "The file is run: each row is a text."
        if len(self.content) > 4 * LIMITS.total_characters:
            return "The file is run."
        text = StringIO(self.content.decode("utf-8-sig", "replace"), newline=None).getvalue()
        if are_separated(StringIO(text)):
            number, how = len(separate_texts(text)), "separated by blank lines or lines of ---"
        else:
            number, how = sum(bool(line.strip()) for line in StringIO(text)), "one a line"
        return f"{counted(number, 'text', 'texts')} in the file, {how}."

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


def pasted(text: str, *, one: bool = False) -> Prompts:
    """The texts of a box. ValueError: there is none, or one is too long, which it names."""
    clean = text.encode("utf-8", "replace").decode()
    texts = [clean] if one else separate_texts(clean)
    if not any(map(str.strip, texts)):
        raise ValueError("there is no text to run; type some first")
    if len(texts) > LIMITS.documents:
        raise ValueError(
            f"there are {len(texts):,} texts, at most {LIMITS.documents:,} are run at once; leave "
            "some out"
        )
    for number, each in enumerate(texts, 1):
        which = f"text {number} of {len(texts)}" if len(texts) > 1 else "the text"
        if len(each) > LIMITS.characters:
            raise ValueError(
                f"{which} has {len(each):,} characters, at most {LIMITS.characters:,}; shorten it"
            )
        if "\0" in each:
            raise ValueError(f"{which} has a NUL byte; remove it")
    if (total := sum(map(len, texts))) > LIMITS.total_characters:
        raise ValueError(
            f"the {len(texts)} texts have {total:,} characters together, at most "
            f"{LIMITS.total_characters:,}; leave some out"
        )
    return Prompts(
        [Document(doc_id=doc_id, text=each, origin="pasted") for doc_id, each in enumerate(texts)],
        (),
    )


def run(
    progress: Progress,
    model: Path,
    prompts: Prompts | Upload,
    sampling: Sampling | None,
    *,
    out: Path,
    title: str,
    name: str = "",
    chat: bool = False,
) -> Run:
    """A run in the new folder `out`, or in that of the job where it cannot be written there.
    `name`: of the model, on the page; `chat`: each prompt is a message of a user."""
    try:
        made = _made(
            progress,
            model,
            prompts,
            sampling,
            folder=progress.folder / out.name,
            title=title,
            name=name,
            chat=chat,
        )
        try:
            return prompt_runs.keep(made, out)
        except (ValueError, OSError):
            return made
    finally:
        prompt_runs.end(out)


def _made(
    progress: Progress,
    model: Path,
    prompts: Prompts | Upload,
    sampling: Sampling | None,
    *,
    folder: Path,
    title: str,
    name: str,
    chat: bool,
) -> Run:
    """In the new folder `folder`."""
    read = prompts.read(progress) if isinstance(prompts, Upload) else prompts
    documents, grouping = with_groups(read.documents)
    reader = models.tracer(progress, model, chat=chat)
    progress.tell(note="checking which weights these are")
    origin = documents[0].origin.split(":")[0]
    source = {"documents": len(documents), "origin": origin, "model": name, "chat": chat}
    description = reader.description(
        "prompts", prompts=source, grouping=grouping, sampling=sampling
    )
    folder.mkdir()
    captured = capture(progress, reader, documents, folder / TRACE, description, sampling=sampling)
    made = Run(
        folder=folder,
        title=title,
        created=prompt_runs.now(),
        model=name,
        documents=captured.documents,
        asked=len(documents),
        tokens=captured.tokens,
        truncated_documents=captured.truncated_documents,
        truncated_tokens=captured.truncated_tokens,
        notes=tuple(read.notes),
        sampling=sampling,
        chat=chat,
        stopped=sampling is not None and progress.enough.is_set(),
    )
    begun = documents[: captured.documents]
    prompt_runs.write(made, {document.doc_id: document.text for document in begun})
    return made


def capture(
    progress: Progress,
    reader: Tracer,
    documents: list[Document],
    path: Path,
    description: TraceDescription,
    *,
    sampling: Sampling | None,
) -> "Captured":
    """Into a trace at `path`."""
    total = len(documents)
    count_texts(progress, 0, 0, total)
    with TraceStore.create(path, description) as store:
        return reader.capture(
            documents,
            store,
            sampling=sampling,
            on_progress=lambda tokens, done: count_texts(progress, tokens, done, total),
            on_step=Telling(lambda live: progress.tell(live=live)),
            cancelled=progress.stop.is_set,
            enough=progress.enough.is_set,
        )


def count_texts(progress: Progress, tokens: int, done: int, total: int) -> None:
    progress.tell(note=counted(tokens, "token", "tokens"), done=done, total=total, unit="texts")
