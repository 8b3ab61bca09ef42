"""README.md, CONTRIBUTING.md and docs/ name only what exists: files, links, modules, commands."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from app.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CHANGELOG = ROOT / "CHANGELOG.md"  # of the past, too: only its links must resolve
FOLDERS = ("app", "analysis", "model", "data", "routescope", "benchmarks", "tests", "docs", ".ci")
UNTRACKED = {
    "build",
    "dist",
    "corpus",
    "traces",
    "runs",
    "models",
}  # what commands leave
SOURCES = (".py", ".sql", ".md", ".toml", ".css", ".js")  # bare names that are files of ours

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .+\n?)+", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(text: str) -> list[str]:
    return [*FENCE.findall(text), *INDENTED.findall(FENCE.sub("", text))]


def spans(text: str) -> list[str]:
    return SPAN.findall(INDENTED.sub("", FENCE.sub("", text)))


def named_paths(text: str) -> Iterator[str]:
    """Words of code that look like a path of this repository; `<page>` stands for any name."""
    for code in [*blocks(text), *spans(text)]:
        for word in re.findall(r"[\w./<>*-]+", code):
            first, _, rest = word.partition("/")
            if (rest and first in FOLDERS) or (not rest and word.endswith(SOURCES)):
                yield re.sub(r"<\w+>", "*", word.rstrip("."))


def exists(path: str) -> bool:
    return any(ROOT.glob(path.rstrip("/"))) or ("/" not in path and path in file_names())


@cache
def file_names() -> set[str]:
    return {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*")}


@by_document
def test_every_path_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [path for path in named_paths(text) if not exists(path)] == []


@by_document
def test_every_module_exists(document: Path) -> None:
    """`model.moe` or `model.moe.MoE`: a file, and a name that occurs in it."""
    for code in spans(document.read_text(encoding="utf-8")):
        if match := re.match(r"(?:app|analysis|model|data)(?:\.\w+)+", code):
            assert is_defined(match[0].split(".")), code


def is_defined(names: list[str]) -> bool:
    folder = ROOT.joinpath(*names)
    module = folder.with_suffix(".py")
    if folder.is_dir() or module.is_file():
        return True
    module = ROOT.joinpath(*names[:-1]).with_suffix(".py")
    return module.is_file() and re.search(rf"\b{names[-1]}\b", module.read_text()) is not None


def anchors(document: Path) -> set[str]:
    """Headings as GitHub links to them."""
    titles = HEADING.findall(FENCE.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", [*DOCUMENTS, CHANGELOG], ids=lambda path: path.name)
def test_every_relative_link_resolves(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def command_lines() -> list[tuple[str, bool]]:
    """Every `routescope ...`, and whether it is whole: a line of a block is, while a mention in
    the text may leave arguments out."""
    lines: dict[str, bool] = {}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for code in spans(text):
            lines.setdefault(code, False)
        for block in blocks(text):
            for line in block.replace("\\\n", " ").splitlines():
                lines[line.strip()] = True
    return [(line, whole) for line, whole in lines.items() if arguments_of(line) is not None]


def arguments_of(line: str) -> list[str] | None:
    """What follows `routescope`; None where it is no such command."""
    line = line.replace("$(which routescope)", "routescope")
    if not re.search(r"(?:^|[\s/])routescope\s", line):
        return None
    words = shlex.split(line, comments=True)
    places = [place for place, word in enumerate(words) if Path(word).name == "routescope"]
    return words[places[0] + 1 :] if places else None


@pytest.mark.parametrize(("line", "whole"), command_lines())
def test_every_command_parses(line: str, whole: bool) -> None:
    command, words = get_command(app), arguments_of(line)
    assert words is not None
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"routescope has no {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    context = command.context_class(command)
    if whole:
        command.parse_args(context, words)
    else:
        command.make_parser(context).parse_args(words)


@by_document
def test_every_target_of_make_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = document.read_text(encoding="utf-8")
    for code in [*spans(text), *(line for block in blocks(text) for line in block.splitlines())]:
        if match := re.match(r"\s*make ([a-z]+)", code):
            assert re.search(rf"^{match[1]}:", makefile, re.MULTILINE), code


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_folder_with_python_is_on_the_map() -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.relative_to(ROOT) for path in ROOT.rglob("*.py")}
    ours = {
        folder.as_posix()
        for folder in folders
        if folder.parts
        and folder.parts[0] not in UNTRACKED
        and not any(part.startswith(".") for part in folder.parts)
    }
    assert {folder for folder in ours if f"`{folder}/`" not in architecture} == set()
