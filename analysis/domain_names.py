"""Which labels of a trace have a row of their own, and how these are called.

Decided here alone, by `queries`, for pages, commands and exports; the trace keeps every label.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from data.labels import OTHERS, is_quoted, look_alikes_in_words, name_of
from data.routing import DOMAINS, UNLABELLED

MAX_LABELS = 12  # as many colours as can be told apart; resamples and tests grow with every label
_OTHERS = re.compile(rf"{OTHERS} \((\d+)\)")


@dataclass(frozen=True, slots=True)
class DomainNames:
    """What the queries are given: the names of labels, '' for none, and of all others."""

    labels: list[str]
    names: list[str]
    others: str

    def parameters(self) -> dict[str, object]:
        return {"labels": self.labels, "names": self.names, "others": self.others}


def domain_names(labels: Sequence[str]) -> DomainNames:
    """Of the labels of a trace, those of most evidence first; '' is none."""
    own = [label for label in labels if label]
    shown = own if len(own) <= MAX_LABELS else own[: MAX_LABELS - 1]
    return DomainNames(
        ["", *shown],
        [UNLABELLED, *map(name_of, shown)],
        f"{OTHERS} ({len(own) - len(shown)})",
    )


def order(name: str) -> tuple[int, str]:
    """The six domains first, then the user's own by name, then the others, then the unlabelled."""
    if name in DOMAINS:
        return DOMAINS.index(name), name
    if name == UNLABELLED:
        return len(DOMAINS) + 2, name
    return len(DOMAINS) + bool(_OTHERS.fullmatch(name)), name


def is_label(name: str) -> bool:
    """It is one label, not the texts without one and not the rest."""
    return name != UNLABELLED and not _OTHERS.fullmatch(name)


def number(names: Sequence[str]) -> int:
    """Of labels, those that are not shown too."""
    others = (match for name in names if (match := _OTHERS.fullmatch(name)))
    return sum(map(is_label, names)) + sum(int(match[1]) for match in others)


def in_words(names: Sequence[str]) -> str:
    """What a reader of these domains has to know about their names; mostly nothing."""
    lines = []
    shown, own = sum(map(is_label, names)), number(names)
    if shown < own:
        lines.append(
            f"Of {own:,} labels, the {shown} with the most groups of texts are shown; the others "
            f"count together as “{OTHERS} ({own - shown})”."
        )
    if quoted := [name for name in names if is_quoted(name)]:
        lines.append(f"A label of the texts themselves stands in quotation marks: {quoted[0]}.")
    alike = look_alikes_in_words(filter(is_label, names))
    return " ".join([*lines, *(f"{text[0].upper()}{text[1:]}." for text in alike)])
