"""Texts as a tokenizer of transformers reads them.

Its pieces join to the text; special tokens that it adds are no part of the text, and named.
"""

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model.pieces import continuation_pieces
from model.readable import ReadText


@dataclass(frozen=True)
class HuggingFaceText:
    """How a model reads texts; with `chat` as the message of a user."""

    tokenizer: Any  # PreTrainedTokenizerBase
    chat: bool = False

    def __post_init__(self) -> None:
        if self.chat and not self.tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template; leave out --chat")

    def encode(self, texts: list[str]) -> list[tuple[list[int], list[str]]]:
        """Without special tokens: their names inside a text are ordinary characters."""
        plain = self.of_texts(texts, special=False, parsed=False)
        return [(one.token_ids, one.pieces) for one in plain]

    def read(self, texts: list[str]) -> list[ReadText]:
        """With the special tokens that the tokenizer adds, or with those of its chat template."""
        if self.chat:
            chats = [self.as_chat(text) for text in texts]
            return self.of_texts(chats, special=False, parsed=True)
        return self.of_texts(texts, special=True, parsed=False)

    def as_chat(self, text: str) -> str:
        messages = [{"role": "user", "content": text}]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # a template is a program of its author's
            raise ValueError(f"the chat template of the tokenizer fails: {error}") from error

    def decode(self, token_ids: list[int]) -> str:
        return str(
            self.tokenizer.decode(
                token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def of_texts(self, texts: list[str], *, special: bool, parsed: bool) -> list[ReadText]:
        if not texts or not self.tokenizer.is_fast:
            return [self.of_slow(text, special=special) for text in texts]
        encodings = self.tokenizer(
            texts,
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            split_special_tokens=not parsed,
            truncation=False,
            verbose=False,
        )
        read = []
        for text, ids, mask, offsets in zip(
            texts,
            encodings["input_ids"],
            encodings["special_tokens_mask"],
            encodings["offset_mapping"],
            strict=True,
        ):
            added = [special and bool(own) for own in mask]
            self.require_known(text, ids, added, offsets)
            read.append(ReadText(text, ids, pieces(text, offsets, added), self.names(ids, added)))
        return read

    def of_slow(self, text: str, *, special: bool) -> ReadText:
        """Without offsets: a piece is what decoding one token more adds."""
        plain = list(self.tokenizer.encode(text, add_special_tokens=False))
        whole = list(self.tokenizer.encode(text, add_special_tokens=True)) if special else plain
        before = next(
            (at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), None
        )
        if before is None:
            before, whole = 0, plain
        cut = continuation_pieces(plain, self.decode)
        if "".join(cut) != text:
            raise ValueError(
                f"the tokenizer ({type(self.tokenizer).__name__}) changes texts and does not say "
                f"where its tokens lie in them: {text[:40]!r} comes back as {''.join(cut)[:40]!r}"
            )
        added = [not before <= at < before + len(plain) for at in range(len(whole))]
        all_pieces = [""] * before + cut + [""] * (len(whole) - before - len(plain))
        return ReadText(text, whole, all_pieces, self.names(whole, added))

    def names(self, ids: list[int], added: list[bool]) -> list[str | None]:
        return [
            str(self.tokenizer.convert_ids_to_tokens(token_id))
            if own or token_id in self.special
            else None
            for token_id, own in zip(ids, added, strict=True)
        ]

    @cached_property
    def special(self) -> frozenset[int]:
        return frozenset(self.tokenizer.all_special_ids)

    def require_known(
        self, text: str, ids: list[int], added: list[bool], offsets: list[tuple[int, int]]
    ) -> None:
        unknown, read = self.tokenizer.unk_token_id, 0
        for token_id, own, (start, end) in zip(ids, added, offsets, strict=True):
            if own:
                continue
            if start > read and (lost := lost_between(text[read:start])):
                raise unreadable(text, lost, "nothing")
            if unknown is not None and token_id == unknown:
                raise unreadable(text, text[start:end], str(self.tokenizer.unk_token))
            if end > read:
                read = end
        if lost := lost_between(text[read:]):
            raise unreadable(text, lost, "nothing")


def lost_between(passed_over: str) -> str:
    """What of the characters that lie in no token says something: letters, numbers, signs."""
    if passed_over.isspace():
        return ""
    return "".join(x for x in passed_over if unicodedata.category(x)[0] in "LNPS")


def unreadable(text: str, lost: str, instead: str) -> ValueError:
    return ValueError(
        f"the tokenizer cannot represent {lost[:20]!r} in the text {text[:40]!r}: the model would "
        f"read {instead} instead; leave the text out, or use a model of its language"
    )


def pieces(text: str, offsets: list[tuple[int, int]], added: list[bool]) -> list[str]:
    """Where several tokens share a character, the last of them adds it and the others nothing;
    characters between tokens go to the one before."""
    own = [place for place, extra in enumerate(added) if not extra]
    starts = [0, *(offsets[place][0] for place in own[1:]), len(text)]
    cut = [""] * len(offsets)
    for number, place in enumerate(own):
        cut[place] = text[starts[number] : max(starts[number], starts[number + 1])]
    return cut
