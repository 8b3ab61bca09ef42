"""Names of files that people choose, in any script, without what a path would read in them."""

import re
import unicodedata

LONGEST = 64  # characters of a name
MOST_BYTES = 160  # of a name in UTF-8: file systems take 255, endings included
JOINERS = "\u200c\u200d"  # letters of some scripts are written with them
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


def is_written(character: str) -> bool:
    """A letter with its marks, a digit or a symbol such as an emoji, of any script."""
    if character.isascii():
        return character.isalnum()
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "So" or character in JOINERS


def file_name(*parts: str) -> str:
    """Parts joined by dashes; of each, what is written, dots and underscores survive."""
    return "-".join(_part(part) for part in parts)


def _part(text: str) -> str:
    kept = "".join(
        character if is_written(character) or character in "._" else " "
        for character in unicodedata.normalize("NFC", text)
    )
    joined = re.sub(" +", "_", kept).strip("._")[:LONGEST]
    return joined.encode()[:MOST_BYTES].decode(errors="ignore") or "unnamed"


def required_name(text: str) -> str:
    """The name of a new file, without its ending."""
    name = unicodedata.normalize("NFC", text)
    usable = (
        0 < len(name) <= LONGEST
        and len(name.encode(errors="replace")) <= MOST_BYTES
        and is_written(name[0])
        and all(is_written(character) or character in " ._-" for character in name)
    )
    if not usable:
        raise ValueError(
            f"a trace name has 1 to {LONGEST} letters of any script, digits, spaces, dots, dashes "
            f"({MOST_BYTES} bytes at most) and begins with a letter or digit; found {name[:80]!r}"
            f"{f' and more, {len(name):,} characters' if len(name) > 80 else ''}"
        )
    if RESERVED.fullmatch(name):
        raise ValueError(f"{name!r} is a name that some systems reserve; choose another name")
    return name
