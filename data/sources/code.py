"""Source code, one package per source; the sublabel is the programming language."""

import gzip
import json
import sysconfig
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path

from data.sources.source import Folders, Package, Source, Text, pip
from data.sources.text import read_text, shuffled_files

MIN_BYTES, MAX_BYTES = 200, 200_000
COMMENT_STARTS = ("#", "//", "/*", "*", ";", "--", "(*", "%", "{", '"""')
LEGAL_WORDS = ("copyright", "licen", "spdx")
LONGEST_LINE = 1000  # longer ones are minified or data
NOT_LIBRARY = frozenset(("site-packages", "test", "tests"))


def without_legal_notice(code: str) -> str:
    """Code without the comment at its top, if that comment is about copyright."""
    lines = code.lstrip("\ufeff").split("\n")
    header = list(takewhile(lambda line: not line.strip() or _is_comment(line), lines))
    notice = "\n".join(header).lower()
    if len(header) < len(lines) and any(word in notice for word in LEGAL_WORDS):
        return "\n".join(lines[len(header) :])
    return code


def _is_comment(line: str) -> bool:
    return line.strip().startswith(COMMENT_STARTS) or line.startswith("   ")


def _code(path: Path) -> str | None:
    if not MIN_BYTES <= path.stat().st_size <= MAX_BYTES or ".min." in path.name:
        return None
    code = without_legal_notice(read_text(path))
    return code if max(map(len, code.split("\n"))) <= LONGEST_LINE else None


def _files(language: str, patterns: tuple[str, ...], folders: Folders) -> Iterator[Text]:
    (folder,) = folders.values()
    for pattern in patterns:
        for path in shuffled_files(folder, pattern):
            if code := _code(path):
                yield Text(language, code)


def _standard_library(folders: Folders) -> Iterator[Text]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in shuffled_files(root, "*.py"):
        is_library = NOT_LIBRARY.isdisjoint(path.relative_to(root).parts)
        if is_library and (code := _code(path)):
            yield Text("Python", code)


def _described_functions(folders: Folders) -> Iterator[Text]:
    """Programs with what they do, in words, before them."""
    path = folders["reasoning-gym"] / "reasoning_gym/data/codeio.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for task in map(json.loads, lines):
            parts = (task["task_description"], task["input_output_spec"], task["code_sample"])
            yield Text("Python", "\n\n".join(parts))


def _package(
    registry: str,
    name: str,
    language: str,
    *patterns: str,
    licence: str,
    megabytes: float,
    publishable: bool = False,
) -> Source:
    return Source(
        name=name,
        domain="code",
        licence=licence,
        packages=(Package(registry, name),),
        read=partial(_files, language, patterns),
        megabytes=megabytes,
        publishable=publishable,
    )


_Copyleft = partial(_package, "apt")
_Debian = partial(_package, "apt", publishable=True)
_Wheel = partial(_package, "pip", publishable=True)
_Npm = partial(_package, "npm", publishable=True)

SOURCES = (
    _Wheel("sympy", "Python", "*.py", licence="BSD-3-Clause", megabytes=5),
    _Wheel("django", "Python", "*.py", licence="BSD-3-Clause", megabytes=4),
    Source(
        name="python-standard-library",  # of the interpreter that builds the corpus
        domain="code",
        licence="PSF-2.0",
        packages=(),
        read=_standard_library,
        megabytes=4,
        publishable=True,
    ),
    Source(
        name="reasoning-gym-codeio",
        domain="code",
        licence="Apache-2.0",
        packages=pip("reasoning-gym"),
        read=_described_functions,
        megabytes=6,
        publishable=True,
    ),
    _Copyleft("glibc-source", "C", "*.c", "*.h", licence="LGPL-2.1+", megabytes=6),
    _Debian("libboost1.74-dev", "C++", "*.hpp", licence="BSL-1.0", megabytes=6),
    _Debian("bazel-bootstrap-source", "Java", "*.java", licence="Apache-2.0", megabytes=6),
    _Debian("golang-1.19-src", "Go", "*.go", licence="BSD-3-Clause", megabytes=6),
    _Debian("rust-src", "Rust", "*.rs", licence="MIT or Apache-2.0", megabytes=6),
    _Npm("three", "JavaScript", "*.js", licence="MIT", megabytes=5),
    _Npm("effect", "TypeScript", "*.ts", licence="MIT", megabytes=4),
    _Npm("rxjs", "TypeScript", "*.ts", licence="Apache-2.0", megabytes=1),
    _Copyleft("wordpress", "PHP", "*.php", licence="GPL-2+", megabytes=3),
    _Copyleft("libruby3.1", "Ruby", "*.rb", licence="Ruby or BSD-2-Clause", megabytes=2),
    _Copyleft("perl-modules-5.36", "Perl", "*.pm", licence="Artistic or GPL-1+", megabytes=2),
    _Debian("sbcl-source", "Lisp", "*.lisp", licence="public domain and BSD", megabytes=1.5),
    _Debian("racket-common", "Racket", "*.rkt", licence="MIT or Apache-2.0", megabytes=1.5),
    _Debian("erlang-src", "Erlang", "*.erl", licence="Apache-2.0", megabytes=1.5),
    _Debian("tcllib", "Tcl", "*.tcl", licence="BSD-3-Clause", megabytes=1),
    _Copyleft("nmap-common", "Lua", "*.nse", "*.lua", licence="NPSL", megabytes=1),
)
