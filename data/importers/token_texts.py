"""Token ids as text with a tokenizer that the user names; texts without ids as numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from data.importers.checks.findings import Ledger
from data.panics import refusing
from data.routing import NO_TOKEN, Document, Finding, RoutingBatch


class TokenTexts:
    """What each token adds to its document. A character of several tokens is added by the last."""

    def __init__(self, path: Path) -> None:
        """`path`: a tokenizer.json, or a folder with one."""
        self.path = path / "tokenizer.json" if path.is_dir() else path
        if not self.path.is_file():
            raise ValueError(f"there is no tokenizer {self.path}; name a tokenizer.json")
        with refusing(f"{self.path} is no tokenizer"):
            self._tokenizer = Tokenizer.from_file(str(self.path))
        self._ids = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self._streams: dict[int, DecodeStream] = {}  # of documents that have begun
        self._begun: dict[int, list[str]] = {}  # their texts until now

    def added(self, batch: RoutingBatch) -> RoutingBatch:
        """The batch with texts where its source gives none, and so its documents."""
        if all(text is not None for text in batch.token_text_T):
            return batch
        texts = [
            self._text(doc_id, token_id) if text is None else text
            for doc_id, token_id, text in zip(
                batch.doc_id_T.tolist(),
                batch.token_id_T.tolist(),
                batch.token_text_T,
                strict=True,
            )
        ]
        for doc_id, text in zip(batch.doc_id_T.tolist(), texts, strict=True):
            self._begun.setdefault(doc_id, []).append(text or "")
        return replace(
            batch, token_text_T=texts, documents=tuple(map(self._completed, batch.documents))
        )

    def _text(self, doc_id: int, token_id: int) -> str | None:
        if token_id == NO_TOKEN:
            return None
        if token_id >= self._ids:
            raise ValueError(
                f"token id {token_id:,} in text {doc_id} is none of the {self._ids:,} of "
                f"{self.path}; name the tokenizer of the model that was recorded"
            )
        stream = self._streams.setdefault(doc_id, DecodeStream(skip_special_tokens=False))
        with refusing(f"{self.path} cannot decode token {token_id}"):
            return stream.step(self._tokenizer, token_id) or ""

    def _completed(self, document: Document) -> Document:
        pieces: Sequence[str] = self._begun.pop(document.doc_id, [])
        self._streams.pop(document.doc_id, None)
        return document if document.text else replace(document, text="".join(pieces))


class TextNumbers:
    """Stands in for ids where a source gives texts alone: equal texts have one number, counted in
    the order in which they first come. Tokens with neither are counted."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ledger = Ledger()

    def numbered(self, batch: RoutingBatch) -> RoutingBatch:
        unknown_T = batch.token_id_T == NO_TOKEN
        if not unknown_T.any():
            return batch
        texts, known = batch.token_text_T, self._numbers
        first = batch.documents[0].origin if batch.documents else "further on"
        unnamed = sum(texts[token] is None for token in np.flatnonzero(unknown_T).tolist())
        self._ledger.note("without-token-ids", unnamed, first)
        if unnamed or not unknown_T.all():
            return batch
        ids_T = np.array([known.setdefault(str(text), len(known)) for text in texts], np.uint32)
        self._ledger.note("numbered-texts", len(texts), first)
        return replace(batch, token_id_T=ids_T)

    def findings(self) -> list[Finding]:
        return self._ledger.findings()
