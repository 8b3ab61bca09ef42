"""Which columns or fields of a prompt file are its text, its domain and its group."""

from collections.abc import Sequence
from functools import lru_cache

from data.labels import LABELS

TEXT_NAMES = ("text", "prompt")
ROLES: dict[str, tuple[str, ...]] = {"text": TEXT_NAMES} | {label: (label,) for label in LABELS}
NEAR_NAMES = {  # as other tools call them
    "text": ("texts", "prompts", "content", "question", "sentence", "document", "input"),
    "domain": ("domains", "label", "labels", "category", "class", "topic", "subject"),
    "group": ("groups", "groupid", "source", "work", "author", "cluster"),
}
NOTED = 10  # names, however many a file has

Places = tuple[int | None, ...]  # of text, domain and group among the names


class NoTextError(ValueError):
    """No column or field is the text."""


@lru_cache(maxsize=256)  # the rows of a jsonl file mostly have the same fields
def columns(names: tuple[str, ...]) -> tuple[Places, tuple[str, ...]]:
    """By exact name, else by the only one that differs in case or blanks; and what has to be said
    of columns that are not used. The caller adds the file to an error."""
    places = tuple(_place(role, names) for role in ROLES)
    notes = [
        f"column {names[at][:40]!r} is not used; name it {role} to use it"
        for role, place in zip(ROLES, places, strict=True)
        if place is None
        for at in range(len(names))
        if at not in places and _plain(names[at]) in NEAR_NAMES[role]
    ]
    return places, tuple(notes)


def _place(role: str, names: Sequence[str]) -> int | None:
    exact = [at for at, name in enumerate(names) if name in ROLES[role]]
    alike = [at for at, name in enumerate(names) if name.strip().casefold() in ROLES[role]]
    found = exact or alike
    if len(found) == 1 or (not found and role != "text"):
        return found[0] if found else None
    wanted = " or ".join(ROLES[role])
    problem = "no column or field" if not found else "more than one column or field"
    shown = ", ".join(repr(name[:40]) for name in names[:10]) or "none"
    remedy = f"name one {wanted.split()[0]}" if not found else "keep one"
    kind = ValueError if found else NoTextError
    raise kind(f"{problem} named {wanted}, found {shown}; {remedy}")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
