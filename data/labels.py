"""What a text may be labelled with, in a prompt file or a task, and how labels are called."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from data.routing import UNLABELLED

LABELS = ("domain", "group")  # optional columns of a prompt file
LABEL_CHARACTERS = 100

# What tables and pages say themselves, in the place of a domain.
ALL, ALL_DOMAINS, ANY, NONE = "all", "all domains", "any domain", "none"
TOO_LITTLE = "too little data"
OTHERS = "other labels"  # with their number in brackets
OWN_WORDS = (ALL, ALL_DOMAINS, ANY, NONE, TOO_LITTLE, UNLABELLED)
_OWN = re.compile(rf"“*({'|'.join(OWN_WORDS)}|{OTHERS} \(\d+\))”*")

SPACES = "".join(character for character in map(chr, range(0x3001)) if character.isspace())
JOINERS = "\u200b\u200c\u200d\u2060\ufeff"  # no width: they belong between two letters
IGNORABLE = (  # Default_Ignorable of Unicode: a font need not draw it; and the blank of Braille
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
INVISIBLE = re.compile(f"[{IGNORABLE}]")
REFUSED = {  # categories of Unicode
    "Cc": "the control character",
    "Cs": "half a surrogate pair,",
    "Zl": "the line break",
    "Zp": "the line break",
}
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_label(name: str, label: object, where: str) -> str | None:
    """A domain or a group, in NFC and trimmed; without a visible character it is none. A whole
    number is its digits."""
    if isinstance(label, float) and label != label:  # a gap among numbers
        return None
    if isinstance(label, Decimal) and label == label.to_integral_value():
        label = int(label)
    if isinstance(label, int | float) and not isinstance(label, bool) and label == label // 1:
        label = whole_number(int(label), name, where)
    if label is None:
        return None
    if not isinstance(label, str):
        raise ValueError(
            f"{where}: the {name} is {type(label).__name__}, not a string or a whole number; "
            "quote it"
        )
    for character in label.strip(SPACES + JOINERS):
        if (kind := unicodedata.category(character)) in REFUSED or character in DIRECTIONS:
            what = REFUSED.get(kind, "the direction control")
            raise ValueError(
                f"{where}: the {name} holds {what} U+{ord(character):04X}; a {name} is one line "
                "of visible characters: remove it"
            )
    trimmed = unicodedata.normalize("NFC", label.strip(SPACES + JOINERS))
    if len(trimmed) > LABEL_CHARACTERS:
        raise ValueError(
            f"{where}: the {name} has {len(trimmed):,} characters, at most {LABEL_CHARACTERS}; "
            "shorten it"
        )
    return trimmed if INVISIBLE.sub("", trimmed).strip(SPACES) else None


def whole_number(number: int, name: str, where: str) -> str:
    if abs(number) >= 10**LABEL_CHARACTERS:
        raise ValueError(
            f"{where}: the {name} is a number of more than {LABEL_CHARACTERS} digits; shorten it"
        )
    return str(number)


def name_of(label: str | None) -> str:
    """How a label is called beside our own words: one that reads like them stands in quotation
    marks, so that every label has a name of its own."""
    if not label:
        return UNLABELLED
    return f"“{label}”" if _OWN.fullmatch(label) else label


def is_quoted(name: str) -> bool:
    return name.startswith("“") and bool(_OWN.fullmatch(name))


def look_alikes(labels: Iterable[str]) -> list[list[str]]:
    """Labels that differ only in case, width, blanks or what nobody sees."""
    alike = defaultdict[str, list[str]](list)
    for label in sorted(set(labels)):
        plain = unicodedata.normalize("NFKC", label).casefold()
        alike["".join(INVISIBLE.sub("", plain).split())].append(label)
    return [names for names in alike.values() if len(names) > 1]


def look_alikes_in_words(labels: Iterable[str]) -> list[str]:
    return [
        f"the labels {', '.join(map(repr, names))} are {len(names)} domains, though they differ "
        "only in case, width or blanks"
        for names in look_alikes(labels)
    ]
