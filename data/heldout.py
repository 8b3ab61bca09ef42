"""The small held-out file that is shipped: documents nobody trained on and anybody may share."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, zip_longest

from data.sources.source import DOMAINS
from data.sources.text import excerpts

Row = dict[str, str]
MAX_BYTES = dict.fromkeys(DOMAINS, 5000) | {"long": 8000}
DOMAIN_BYTES = dict.fromkeys(DOMAINS, 860000) | {"long": 1_800_000}
MAX_DOCUMENTS = 240  # of a domain
MAX_EXCERPTS = 8  # of a document of the domain `long`; elsewhere its beginning is one
MIN_BYTES = 400
FEW = 3  # documents of a group: of so few, two excerpts each are shown
FEW_BYTES = 2000  # of such an excerpt: about what a context of 512 tokens holds


def published(rows: Iterable[Row], publishable: frozenset[str]) -> Iterator[dict[str, object]]:
    """Documents of the named sources, cut to size, one of each group of a domain in turn."""
    rows = [row for row in rows if row["source"] in publishable]
    of_group = Counter(row["group"] for row in rows)
    by_domain: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_domain[row["domain"]] += _excerpts(row, few=of_group[row["group"]] <= FEW)
    doc_id = 0
    for domain in DOMAINS:
        for row in _within_limits(_in_turn(by_domain[domain], "group"), domain):
            yield {**row, "doc_id": doc_id}
            doc_id += 1


def _excerpts(row: Row, *, few: bool) -> list[Row]:
    size, number = MAX_BYTES[row["domain"]], 1
    if row["domain"] == "long":
        number = MAX_EXCERPTS
    elif few:
        size, number = FEW_BYTES, 2
    kept = islice(excerpts(row["text"], size), number)
    return [{**row, "text": piece} for piece in kept if len(piece.encode()) >= MIN_BYTES]


def _in_turn(rows: list[Row], key: str) -> Iterator[Row]:
    """One row of each group in turn, and within a group one of each sublabel in turn."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_stable_order):
        groups[row[key]].append(row)
    turns: list[Iterable[Row]] = list(groups.values())
    if key == "group":
        turns = [_in_turn(group, "sublabel") for group in groups.values()]
    for turn in zip_longest(*turns):
        yield from (row for row in turn if row is not None)


def _stable_order(row: Row) -> bytes:
    return hashlib.blake2b(row["text"].encode(), digest_size=8).digest()


def _within_limits(rows: Iterable[Row], domain: str) -> Iterator[Row]:
    used = 0
    for row in islice(rows, MAX_DOCUMENTS):
        used += len(row["text"].encode())
        if used > DOMAIN_BYTES[domain]:
            return
        yield row
