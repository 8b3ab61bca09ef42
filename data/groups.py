"""Groups of documents: texts that are alike are one piece of evidence, not several.

A text's group is given with it, or it is one with the equal and nearly equal texts of its domain
that give none either. A group lies within one domain.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from data.duplicates import Shingles, near_duplicates, sampled_shingles
from data.routing import UNLABELLED, Document
from data.words import counted

SOURCES = ("column", "corpus", "near-duplicates")  # how documents come by their groups


def sources_of(described: Mapping[str, object]) -> list[str]:
    """Of Grouping.described, each once; merged traces can have several."""
    return list(dict.fromkeys(str(described["from"]).split(" and ")))


class GroupDomains:
    """The domain of every group so far."""

    def __init__(self) -> None:
        self._domains: dict[str, str | None] = {}

    def check(self, group: str | None, domain: str | None, where: object) -> None:
        if group is None:
            return
        known = self._domains.setdefault(group, domain)
        if known != domain:
            raise ValueError(
                f"{where}: group {group!r} has texts of {known or UNLABELLED} and of "
                f"{domain or UNLABELLED}; a group lies within one domain: give them one domain, "
                "or a group for each"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How documents came by their groups, for whoever reads the trace."""

    source: str  # of SOURCES
    documents: int
    groups: int
    joined: int = 0  # texts that are equal or nearly equal to an earlier one and count with it

    def described(self) -> dict[str, object]:
        return {
            "from": self.source,
            "documents": self.documents,
            "groups": self.groups,
            "joined": self.joined,
        }

    def in_words(self) -> str:
        return (
            f"{self.joined:,} of {self.documents:,} texts are equal or nearly equal to another "
            f"and count as one with it ({counted(self.groups, 'group', 'groups')})"
        )


class TextGroups:
    """Takes the texts of a file one by one; then says which are one."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._documents = 0
        self._first: dict[bytes, int] = {}  # doc_id of the first of equal texts
        self._digests: dict[int, bytes] = {}  # of every text without a group
        self._shingles = defaultdict[str | None, dict[int, Shingles]](dict)  # by domain

    def add(self, doc_id: int, text: str, domain: str | None, group: str | None) -> None:
        self._documents += 1
        if group is not None:
            self._given.add(group)
            return
        digest = hashlib.sha256(json.dumps([domain, text]).encode()).digest()
        self._digests[doc_id] = digest
        if self._first.setdefault(digest, doc_id) == doc_id:
            self._shingles[domain][doc_id] = sampled_shingles(text)

    def groups(self) -> tuple[dict[int, str], Grouping]:
        """Groups of the texts that are one with another, by doc_id; and how that came about."""
        leader = self._leaders()
        members = defaultdict[int, list[int]](list)
        for doc_id, digest in self._digests.items():
            members[leader[self._first[digest]]].append(doc_id)
        named = {
            doc_id: f"texts like {self._digests[first].hex()[:16]}"
            for first, doc_ids in members.items()
            if len(doc_ids) > 1
            for doc_id in doc_ids
        }
        grouping = Grouping(
            source="column" if self._given else "near-duplicates",
            documents=self._documents,
            groups=len(self._given) + len(members),
            joined=len(self._digests) - len(members),
        )
        return named, grouping

    def _leaders(self) -> dict[int, int]:
        """The first text of those that are one, near-duplicates of near-duplicates included."""
        leader = {doc_id: doc_id for doc_id in self._first.values()}

        def find(doc_id: int) -> int:
            while leader[doc_id] != doc_id:
                leader[doc_id] = leader[leader[doc_id]]
                doc_id = leader[doc_id]
            return doc_id

        for shingles in self._shingles.values():
            doc_ids = list(shingles)
            for one, other in near_duplicates(list(shingles.values())):
                low, high = sorted((find(doc_ids[one]), find(doc_ids[other])))
                leader[high] = low
        return {doc_id: find(doc_id) for doc_id in leader}


def with_groups(documents: Iterable[Document]) -> tuple[list[Document], Grouping]:
    """The documents, those that are one with others in a group."""
    documents = list(documents)
    texts = TextGroups()
    for document in documents:
        texts.add(document.doc_id, document.text, document.domain, document.group)
    named, grouping = texts.groups()
    grouped = [
        replace(document, group=named.get(document.doc_id, document.group))
        for document in documents
    ]
    return grouped, grouping
