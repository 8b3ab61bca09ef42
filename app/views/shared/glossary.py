"""The terms of docs/glossary.md, explained where they stand on a page."""

import re
from functools import cache
from html import escape

from app.folders import SHIPPED

SHORT = {"q", "p"}  # terms only before a number: they are letters of other words, too


@cache
def terms() -> dict[str, str]:
    """What each means, in plain words."""
    text = (SHIPPED / "docs" / "glossary.md").read_text(encoding="utf-8")
    entries = [entry.split("\n", 1) for entry in text.split("\n### ")[1:]]
    return {name.strip(): " ".join(words.split()) for name, words in entries}


@cache
def _pattern() -> re.Pattern[str]:
    """Longer terms first; plurals too."""
    names = sorted(terms().keys() - SHORT, key=len, reverse=True)
    whole = "|".join(re.escape(escape(name)) for name in names)
    letters = "|".join(sorted(SHORT))
    words = rf"\b(?P<term>{whole})(?P<plural>s?)\b"
    return re.compile(rf"{words}|\b(?P<letter>{letters})(?= (?:&lt;|\d))", re.I)


def marked(text: str, seen: set[str]) -> str:
    """HTML that is escaped already, with each term explained on hover that was not `seen` on the
    page before."""
    known = {name.lower(): words for name, words in terms().items()}

    def mark(match: re.Match[str]) -> str:
        word = match["term"] or match["letter"]
        name = word.lower()
        if name in seen or (match["letter"] and word != name):
            return match[0]
        seen.add(name)
        shown = f"{word}{match['plural'] or ''}"
        return f'<abbr tabindex="0" title="{escape(known[name], quote=True)}">{shown}</abbr>'

    return _pattern().sub(mark, text)


def meaning(label: str) -> str | None:
    """What the first term of a label means; None: it has none."""
    name = label.strip().lower()
    exact = {term.lower(): words for term, words in terms().items()}
    if name in exact:
        return exact[name]
    found = _pattern().search(escape(label))
    return exact[(found["term"] or found["letter"]).lower()] if found else None
