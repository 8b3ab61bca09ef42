"""A list of experts as a file: JSON for other tools, CSV with all of its figures."""

import json
from pathlib import Path

from app.studies.expert_lists.subject import ExpertList
from data import report
from data.exports.new_file import new_file
from data.outputs import require_new_file

SUFFIXES = (".json", ".csv")


def require_new(out: Path) -> None:
    """ValueError: it is there, cannot be made, or is neither of SUFFIXES."""
    if out.suffix not in SUFFIXES:
        raise ValueError(f"{out} does not end in {' or '.join(SUFFIXES)}, as a list does")
    require_new_file(out)


def write(found: ExpertList, out: Path, *, form: str | None) -> None:
    """ValueError: the list has no file for other tools, and why."""
    content = csv_bytes(found) if out.suffix == ".csv" else json_bytes(found, form)
    with new_file(out) as file:
        file.write(content)


def csv_bytes(found: ExpertList) -> bytes:
    return report.csv_text(found.experts).encode()


def json_bytes(found: ExpertList, form: str | None = None) -> bytes:
    """Of the form given, else the first."""
    if not found.files or (form is not None and form not in found.files):
        raise ValueError(found.unwritten)
    value = found.files[next(iter(found.files)) if form is None else form]
    return json.dumps(value, allow_nan=False).encode()
