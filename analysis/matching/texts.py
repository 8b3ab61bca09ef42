"""Texts that two traces share, and which tokens of one stand where tokens of the other do.

A place is a token of both, or a run of characters that lies in one token of each: where tokenizers
differ, every character inherits what its token chose.

N = texts that both have, T = tokens of a trace, P = places.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import document_rows, queries
from analysis.arrays import MAX_TOKENS
from analysis.matching.same_tokens import same_characters, same_tokens
from analysis.queries import TraceInfo
from data.routing import NO_TOKEN, UNKNOWN
from data.words import counted

TOKENS, CHARACTERS = "tokens", "characters"  # what is matched, and counted
MAX_DECISIONS = 2_000_000  # of layers about tokens, read of each trace
MAX_CHOICES = 16_000_000  # of experts, that these make
MIN_ALIKE = 0.5  # of the texts, whose tokens are the same: the others are left out
NUMBERED = "numbered-texts"  # the finding of a trace whose ids mean nothing to another one


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedTexts:
    """Tokens of the texts that were read: doc_id, position, token_id (NO_TOKEN: unknown), text,
    phase, special (bool). Places follow one another as the first trace has them, text by text."""

    by: str  # TOKENS or CHARACTERS
    first: pd.DataFrame
    second: pd.DataFrame
    row_P: np.ndarray  # of the first trace's tokens
    other_row_P: np.ndarray
    size_P: np.ndarray  # 1, or how many characters
    unit_P: np.ndarray  # the group of the first trace's text
    domain_P: np.ndarray  # of it: a place in the first trace's domains
    num_texts: int  # that both have
    num_read: int  # of these
    num_laid: int  # of these, whose tokens could be matched
    most: int  # tokens of a text, where longer ones end; 0: none is longer
    of_texts: tuple[int, int]  # that each has

    def phases(self) -> np.ndarray:
        return self.first.phase.to_numpy()[self.row_P]

    def at(self, place: np.ndarray) -> "MatchedTexts":
        """Some of the places."""
        columns = ("row_P", "other_row_P", "size_P", "unit_P", "domain_P")
        return replace(self, **{name: getattr(self, name)[place] for name in columns})

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """group_P, numbered from 0, and domain_N of the groups."""
        units_N, group_P = np.unique(self.unit_P, return_inverse=True)
        domain_N = np.zeros(len(units_N), int)
        domain_N[group_P] = self.domain_P
        return group_P, domain_N

    def in_words(self) -> str:
        """What was matched, in a sentence."""
        texts, other = self.of_texts
        places = int(self.size_P.sum())
        longest = max(len(self.first), len(self.second))
        said = f"{_texts_in_words(self.num_texts)} in both traces (of {texts:,} and {other:,})"
        if self.num_read < self.num_texts:
            said += f"; {self.num_read:,} of them were read, always the same ones"
        if self.most:
            said += f"; of longer ones the first {self.most:,} tokens"
        left = self.num_read - self.num_laid
        if self.by == TOKENS:
            lost = f" {_texts_in_words(left)} left out, tokenized otherwise." if left else ""
            return f"{said}. {places:,} of their {longest:,} tokens are the same in both.{lost}"
        lost = f"; {_texts_in_words(left)} left out, whose tokens do not give it" if left else ""
        return (
            f"{said}. Their tokens differ, so they are matched, and counted, by character: "
            f"{places:,}{lost}."
        )


def _texts_in_words(count: int) -> str:
    return "1 text is" if count == 1 else f"{count:,} texts are"


def matched_texts(
    first: tuple[DuckDBPyConnection, TraceInfo], second: tuple[DuckDBPyConnection, TraceInfo]
) -> MatchedTexts:
    """ValueError: they have no text or no token in common, or cannot be compared."""
    for _, info in (first, second):
        if info.counts_only:
            raise ValueError(
                f"{info.name} holds counts of choices and names no token; compare loads instead"
            )
    pairs, of_texts = _common_documents(first[0], second[0])
    most = _most_tokens(first, second)
    read = _sample(pairs, most)
    tokens = _tokens(first[0], read.doc_id, most), _tokens(second[0], read.other_doc_id, most)
    numbers = [frame.doc_id.map(_numbers(ids)).to_numpy() for frame, ids in _zipped(tokens, read)]
    same_ids = first[1].tokenizer == second[1].tokenizer and not any(
        finding.kind == NUMBERED for con, _ in (first, second) for finding in queries.findings(con)
    )
    named = same_ids and first[1].tokenizer != UNKNOWN
    rows, others, laid = same_tokens(*tokens, *numbers, same_ids=same_ids, named=named)
    by, sizes = TOKENS, np.ones(len(rows), np.int64)
    known = all(frame.text.notna().any() for frame in tokens)
    if known and laid < MIN_ALIKE * len(read):
        by = CHARACTERS
        texts = [_texts(first[0], read.doc_id), _texts(second[0], read.other_doc_id)]
        rows, others, sizes, laid = same_characters(tokens, numbers, texts)
    if not len(rows):
        raise ValueError(
            f"{first[1].name} and {second[1].name} share {counted(len(pairs), 'text', 'texts')}, "
            "and not one token "
            "at the same place of them"
        )
    documents = queries.documents(first[0]).set_index("doc_id").loc[tokens[0].doc_id.iloc[rows]]
    return MatchedTexts(
        by=by,
        first=tokens[0],
        second=tokens[1],
        row_P=rows,
        other_row_P=others,
        size_P=sizes,
        unit_P=documents.unit.to_numpy(),
        domain_P=pd.Index(first[1].domains).get_indexer(pd.Index(documents.domain)),
        num_texts=len(pairs),
        num_read=len(read),
        num_laid=laid,
        most=most if (read.tokens > most).any() else 0,
        of_texts=of_texts,
    )


def _common_documents(
    first: DuckDBPyConnection, second: DuckDBPyConnection
) -> tuple[pd.DataFrame, tuple[int, int]]:
    """doc_id, other_doc_id, tokens (the more of both), in an order that is random and always the
    same; equal texts are matched in their order, and those of equal prompts after them."""
    frames = [queries.document_keys(con) for con in (first, second)]
    one, other = (frame[frame.tokens > 0] for frame in frames)
    parts = []
    for name in ("whole", "prompt"):
        parts.append(_equal(one, other, name))
        one = one[~one.doc_id.isin(parts[-1].doc_id)]
        other = other[~other.doc_id.isin(parts[-1].other_doc_id)]
    pairs = pd.concat(parts, ignore_index=True)
    if pairs.empty:
        raise ValueError(
            "no text is in both traces; tokens can be compared where the same prompts were read"
        )
    pairs = pairs.sort_values(["key", "copy"], ignore_index=True)
    return pairs[["doc_id", "other_doc_id", "tokens"]], (len(frames[0]), len(frames[1]))


def _equal(one: pd.DataFrame, other: pd.DataFrame, name: str) -> pd.DataFrame:
    """doc_id, other_doc_id, tokens, key, copy"""
    columns = {name: "key", "doc_id": "other_doc_id", "tokens": "other_tokens"}
    known = [frame[frame[name].notna()] for frame in (one, other)]
    numbered = [frame.assign(copy=frame.groupby(name).cumcount().to_numpy()) for frame in known]
    pairs = numbered[0].rename(columns={name: "key"})[["doc_id", "tokens", "key", "copy"]]
    found = numbered[1].rename(columns=columns)[["other_doc_id", "other_tokens", "key", "copy"]]
    pairs = pairs.merge(found, on=["key", "copy"])
    return pairs.assign(tokens=pairs[["tokens", "other_tokens"]].max(axis=1))


def _most_tokens(*traces: tuple[DuckDBPyConnection, TraceInfo]) -> int:
    """That are read of a trace, and of a text."""
    layers = max(info.num_layers for _, info in traces)
    choices = max(_most_choices(con, info) for con, info in traces)
    return max(min(MAX_TOKENS, MAX_DECISIONS // layers, MAX_CHOICES // (layers * choices)), 1)


def _most_choices(con: DuckDBPyConnection, info: TraceInfo) -> int:
    """Of a token in a layer."""
    fixed = [layer.top_k for layer in info.layers if layer.top_k is not None]
    if len(fixed) == info.num_layers:
        return max(fixed)
    return max(int(queries.domain_k(con).k.max()), 1)


def _sample(pairs: pd.DataFrame, most: int) -> pd.DataFrame:
    """Whole texts until they hold so many tokens; no text counts for more, nor is more read."""
    size = pairs.tokens.clip(upper=most)
    return pairs[size.cumsum() - size < most].reset_index(drop=True)


def _tokens(con: DuckDBPyConnection, doc_ids: pd.Series, most: int) -> pd.DataFrame:
    frame = document_rows.tokens_of(con, doc_ids.tolist(), most=most)
    known = frame.token_id.fillna(NO_TOKEN).astype(np.int64)
    text = frame.text.astype(object).where(frame.text.notna(), None)
    return frame.assign(token_id=known, text=text)


def _texts(con: DuckDBPyConnection, doc_ids: pd.Series) -> list[str]:
    """In the order of doc_ids."""
    frame = document_rows.texts_of(con, doc_ids.tolist()).set_index("doc_id")
    return frame.text.loc[doc_ids].tolist()


def _numbers(doc_ids: pd.Series) -> dict[int, int]:
    return {doc_id: number for number, doc_id in enumerate(doc_ids.tolist())}


def _zipped(
    tokens: tuple[pd.DataFrame, pd.DataFrame], read: pd.DataFrame
) -> list[tuple[pd.DataFrame, pd.Series]]:
    return [(tokens[0], read.doc_id), (tokens[1], read.other_doc_id)]
