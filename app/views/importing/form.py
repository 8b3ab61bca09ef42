"""What to import, and what the files cannot say."""

import uuid
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import streamlit as st

from app.jobs.importing import MEGABYTES, keep, run
from app.jobs.job import Job, Place
from app.jobs.queue import all_jobs
from app.views.shared import controls
from app.workspace import scratch
from data.importers.formats import importers
from data.importers.source import Options
from data.new_trace import MOST_EXPERTS

DETECT = "found out"
SAID = "if needed"
LAYERS = {
    "not known": None,
    "MoE layers alone": "moe",
    "all layers, dense ones as expert 0": "all",
}
DOMAINS = {"none": None, "the name of the file": "origin", "the folder of the file": "folder"}


@dataclass(frozen=True, slots=True)
class Request:
    files: list[tuple[str, bytes]]
    options: Options
    format: str | None
    prompts: tuple[str, bytes] | None


def asked() -> Request | None:
    """What the user asked to import, on the rerun in which they pressed the button."""
    with st.form("import", border=False):
        files = st.file_uploader(
            "Drop the files of one dump here",
            accept_multiple_files=True,
            key="dump",
            max_upload_size=MEGABYTES,
        )
        st.caption(
            f"Up to {MEGABYTES:,} MB in all; the command `routescope import` takes files of any "
            "size, whole folders, and `--tokenizer` and `--physical-map` too. Nothing in a file is "
            "executed."
        )
        st.caption("What the files cannot say, by the names that the command has for it:")
        request = _options()
        pressed = st.form_submit_button("Import", type="primary", icon=":material/upload_file:")
    if not pressed:
        return None
    if not files:
        st.error("There is nothing to import; drop a file first.")
        return None
    given = [(file.name, file.getvalue()) for file in files]
    options, format, prompts = request
    return Request(given, options, format, prompts)


def _options() -> tuple[Options, str | None, tuple[str, bytes] | None]:
    """Only what a file cannot say; the error names what is missing."""
    names = {DETECT: None} | {f"{one.NAME}: {one.TITLE}": one.NAME for one in importers()}
    first = st.columns([2, 1, 1, 2])
    format = first[0].selectbox("--format", names, key="format")
    num_experts = first[1].number_input(
        "--num-experts", 1, MOST_EXPERTS, None, placeholder=SAID, key="num_experts"
    )
    top_k = first[2].number_input("--top-k", 1, MOST_EXPERTS, None, placeholder=SAID, key="top_k")
    layers = first[3].selectbox("--layers: what the files hold", LAYERS, key="layers")
    second = st.columns([2, 4])
    domain = second[0].selectbox("--domain-from: domain of a text", DOMAINS, key="domain_from")
    prompts = second[1].file_uploader(
        "--prompts: what was sent, for texts, domains and groups",
        type=["txt", "csv", "jsonl", "parquet"],
        key="import_prompts",
        max_upload_size=32,
    )
    options = Options(
        num_experts=num_experts,
        top_k=top_k,
        layers=LAYERS[layers],
        domain_from=DOMAINS[domain],
    )
    return options, names[format], (prompts.name, prompts.getvalue()) if prompts else None


def start(request: Request) -> None:
    """Begin the job; its link comes into the address."""
    name = uuid.uuid4().hex
    folder = scratch() / f"import-{name}"
    try:
        keep(folder, request.files)
        work = partial(
            run,
            folder=folder,
            options=replace(request.options, prompts=_kept(folder, request.prompts)),
            format=request.format,
        )
    except (ValueError, OSError) as error:
        controls.refused("This cannot be imported:", error)
        return
    title = f"Importing {request.files[0][0][:40]}"
    all_jobs().start(_key(name), title, work, place=Place("importing", {"job": name}))
    st.query_params["job"] = name


def _kept(folder: Path, prompts: tuple[str, bytes] | None) -> Path | None:
    if prompts is None:
        return None
    path = folder / f"prompts{Path(prompts[0]).suffix.lower()}"
    path.write_bytes(prompts[1])
    return path


def linked_job() -> Job | None:
    """That of the link; None: there is none, or the server has ended since."""
    name = st.query_params.get("job", "")
    job = all_jobs().get(_key(name)) if name else None
    if name and job is None:
        st.info("The import of this link is not there any more; drop the files again.")
        st.query_params.pop("job", None)
    return job


def formats() -> str:
    """A list, as Markdown."""
    lines = [f"- `{one.NAME}`: {controls.unmarked(one.TITLE)}" for one in importers()]
    return "\n".join([*lines, "", "`docs/formats.md` shows a small example of each."])


def _key(name: str) -> str:
    return f"import|{name}"
