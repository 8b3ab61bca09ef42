"""Mathematics: generated problems, formal statements and the manuals of mathematical software."""

import re
from collections.abc import Iterator
from functools import partial

from data.sources.html import html_text
from data.sources.manuals import manual
from data.sources.problems import MATHEMATICS_DATASET, REASONING_GYM, worksheets
from data.sources.source import Folders, Source, Text, apt
from data.sources.text import pages, read_text, shuffled_files

SHORT_PROBLEMS = [
    "simple_equations",
    "gcd",
    "lcm",
    "fraction_simplification",
    "calendar_arithmetic",
    "simple_geometry",
    "advanced_geometry",
    "chain_sum",
    "basic_arithmetic",
    "complex_arithmetic",
    "prime_factorization",
    "number_sequence",
    "time_intervals",
    "leg_counting",
    "products",
    "base_conversion",
    "count_primes",
    "dice",
    "decimal_chain_sum",
]
_METAMATH = re.compile(
    r"\$\((?P<comment>.*?)\$\)\s+(?P<label>\S+)\s+\$[ap]\s+(?P<claim>.*?)\$[=.]", re.S
)
_XDOC = re.compile(r':(?:short|long)\s+"((?:[^"\\]|\\.)*)"', re.S)


def _metamath(folders: Folders) -> Iterator[Text]:
    """Theorems as comment, name and claim; their compressed proofs are not words."""
    for path in sorted(folders["metamath-databases"].rglob("*.mm")):
        theorems = (
            f"{_one_line(match['comment'])}\n{match['label']}: {_one_line(match['claim'])}"
            for match in _METAMATH.finditer(read_text(path))
            if "$(" not in match["comment"]
        )
        for page in pages(theorems):
            yield Text("metamath", page)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _acl2(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["acl2-books-source"], "*.lisp"):
        strings = (html_text(text.replace('\\"', '"')) for text in _XDOC.findall(read_text(path)))
        for page in pages(strings):
            yield Text("acl2", page)


def _coq(folders: Folders) -> Iterator[Text]:
    for package, folder in folders.items():
        project = "mathcomp" if "mathcomp" in package else "stdlib"
        for path in shuffled_files(folder, "*.v"):
            text = read_text(path)
            code = text[text.find("*)") + 2 :] if text.startswith("(*") else text
            yield Text("coq", code, project)


def _hol(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["hol-light"], "*.ml"):
        yield Text("hol", read_text(path))


def _pari(folders: Folders) -> Iterator[Text]:
    for path in sorted(folders["pari-doc"].rglob("*.tex")):
        for page in pages(read_text(path).split("\n\n"), size=6000):
            yield Text("pari", page)


_Math = partial(Source, domain="math")
_Problems = partial(_Math, licence="Apache-2.0", publishable=True, generated=True)

SOURCES = (
    _Problems(
        name="reasoning-gym-word-problems",
        packages=(REASONING_GYM,),
        read=worksheets(REASONING_GYM, "reasoning_worker.py", "gsm_symbolic", megabytes=11),
        megabytes=10,
    ),
    _Problems(
        name="reasoning-gym-short-problems",
        packages=(REASONING_GYM,),
        read=worksheets(REASONING_GYM, "reasoning_worker.py", *SHORT_PROBLEMS, megabytes=5),
        megabytes=5,
    ),
    _Problems(
        name="mathematics-dataset",
        packages=(MATHEMATICS_DATASET,),
        read=worksheets(MATHEMATICS_DATASET, "mathematics_worker.py", megabytes=9),
        megabytes=8,
    ),
    _Math(
        name="metamath-databases",
        licence="CC0-1.0",
        packages=apt("metamath-databases"),
        read=_metamath,
        megabytes=8,
        publishable=True,
    ),
    _Math(
        name="acl2-books-source",
        licence="BSD-3-Clause, MIT, GPL-2+",
        packages=apt("acl2-books-source"),
        read=_acl2,
        megabytes=3,
    ),
    _Math(
        name="coq",
        licence="LGPL-2.1 and CeCILL-B",
        packages=apt(
            "libcoq-stdlib",
            "libcoq-mathcomp-ssreflect",
            "libcoq-mathcomp-fingroup",
            "libcoq-mathcomp-algebra",
        ),
        read=_coq,
        megabytes=4,
    ),
    _Math(
        name="hol-light",
        licence="BSD-2-Clause",
        packages=apt("hol-light"),
        read=_hol,
        megabytes=2,
    ),
    _Math(
        name="pari-doc",
        licence="GPL-2+",
        packages=apt("pari-doc"),
        read=_pari,
        megabytes=2,
    ),
    _Math(
        name="sagemath-doc",
        licence="GPL-2+",
        packages=apt("sagemath-doc"),
        read=manual("sagemath-doc", "sage", part="/en/"),
        megabytes=7,
    ),
    _Math(
        name="macaulay2-common",
        licence="GPL-2+ and public domain",
        packages=apt("macaulay2-common"),
        read=manual("macaulay2-common", "macaulay2"),
        megabytes=2.5,
    ),
    _Math(
        name="gap-doc",
        licence="GPL-2+",
        packages=apt("gap-doc"),
        read=manual("gap-doc", "gap"),
        megabytes=2,
    ),
    _Math(
        name="maxima-doc",
        licence="GPL-2+",
        packages=apt("maxima-doc"),
        read=manual("maxima-doc", "maxima"),
        megabytes=1.5,
    ),
    _Math(
        name="python-sympy-doc",
        licence="BSD-3-Clause",
        packages=apt("python-sympy-doc"),
        read=manual("python-sympy-doc", "sympy"),
        megabytes=2.5,
        publishable=True,
    ),
)
