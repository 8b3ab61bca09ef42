"""What a corpus was made of: packages with versions and checksums, and how much each gave."""

import platform
from collections.abc import Iterable
from dataclasses import asdict
from typing import TypedDict

from data.corpora import SPLITS, Tally
from data.sources.packages import Download, PackageCache
from data.sources.source import Source


class Manifest(TypedDict):
    packages: list[dict[str, object]]
    text_bytes: dict[str, dict[str, int]]  # by split and domain
    documents: dict[str, int]  # by split


def manifest(sources: Iterable[Source], tally: Tally, cache: PackageCache) -> Manifest:
    """Of the sources that gave text. A package that only helps to read another has no documents."""
    used = [source for source in sources if _documents(tally, [source])]
    by_package: dict[Download, list[Source]] = {}
    for source in used:
        for position, package in enumerate(source.packages):
            owned = by_package.setdefault(cache.download(package), [])
            if position == 0:
                owned.append(source)
    packages = [
        {**asdict(download), **_contents(tally, owned)} for download, owned in by_package.items()
    ]
    own = [source for source in used if not source.packages]
    python = Download("python", "standard-library", platform.python_version(), sha256="")
    return Manifest(
        packages=[*packages, {**asdict(python), **_contents(tally, own)}],
        text_bytes={split: tally.of_domains(used, split) for split in SPLITS},
        documents={split: _documents_of(tally, used, split) for split in SPLITS},
    )


def _contents(tally: Tally, sources: list[Source]) -> dict[str, object]:
    text_bytes: dict[str, int] = {}
    for source in sources:
        size = sum(tally.text_bytes[source.name, split] for split in SPLITS)
        text_bytes[source.domain] = text_bytes.get(source.domain, 0) + size
    return {
        "licence": "; ".join(dict.fromkeys(source.licence for source in sources)),
        "text_bytes": text_bytes,
        "documents": _documents(tally, sources),
    }


def _documents(tally: Tally, sources: list[Source]) -> int:
    return sum(_documents_of(tally, sources, split) for split in SPLITS)


def _documents_of(tally: Tally, sources: list[Source], split: str) -> int:
    return sum(tally.documents[source.name, split] for source in sources)
