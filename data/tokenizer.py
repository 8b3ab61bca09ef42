"""Byte-level BPE: any UTF-8 text comes back exactly, numbers are split into digits."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import (
    Encoding,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

from data.panics import refusing
from data.tokens import END_OF_TEXT_ID, TokenizedDocument

END_OF_TEXT = "<|endoftext|>"  # starts every document, so it also ends the one before
VOCAB_SIZE = 16_384
ENCODED_AT_ONCE = 256  # documents
MOST_IDS = 2**16  # of a corpus
STARTS = (*range(0xC0), *range(0xC0, 0x800, 0x40), 0x800, *range(0x1000, 0x10000, 0x1000))
BEYOND = (0x10000, *range(0x40000, 0x110000, 0x40000))
EVERY_BYTE = "".join(map(chr, STARTS + BEYOND))  # that UTF-8 has
SAMPLES = ["The", f"  The  The e\u0301 ﬁ½２ 🏳️\u200d🌈{END_OF_TEXT}\r\n{EVERY_BYTE} "]


def train_tokenizer(texts: Iterable[str], vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """Of exactly `vocab_size` entries, the 256 bytes and the special token included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(
            f"the texts support {tokenizer.get_vocab_size()} entries, not {vocab_size};"
            " give more text or ask for a smaller vocabulary"
        )
    assert tokenizer.token_to_id(END_OF_TEXT) == END_OF_TEXT_ID
    tokenizer.encode_special_tokens = True
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Encodes a text alone, whole and always alike, whatever else the file asks for; the special
    token's name inside a text is read as ordinary characters.

    ValueError: it gives back another text than it was given.
    """
    if not path.is_file():
        raise ValueError(f"no tokenizer at {path}; make one with `routescope corpus tokenize`")
    with refusing(f"{path} is no tokenizer"):
        tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = None  # adds tokens, and takes blanks out of offsets
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    tokenizer.encode_special_tokens = True
    encoded(tokenizer, SAMPLES, path)
    return tokenizer


def save_with_start(path: Path, target: Path) -> None:
    """The tokenizer at `path` as transformers is to use it: it begins each text with the token that
    did so in training, as ours do without being asked."""
    tokenizer = load_tokenizer(path)
    start = tokenizer.id_to_token(END_OF_TEXT_ID)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, END_OF_TEXT_ID)]
    )
    tokenizer.save(str(target))


def encoded(tokenizer: Tokenizer, texts: list[str], path: Path) -> list[Encoding]:
    """ValueError: a text does not come back from its tokens. `path`: the tokenizer's."""
    try:
        with refusing(f"{path} cannot encode {_shown(next(iter(texts), ''))}"):
            encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
            ids = [encoding.ids for encoding in encodings]
            back = tokenizer.decode_batch(ids, skip_special_tokens=False)
    except ValueError:
        if len(texts) == 1:
            raise
        return [one for text in texts for one in encoded(tokenizer, [text], path)]
    for text, decoded in zip(texts, back, strict=True):
        if decoded != text:
            raise ValueError(f"{path} changes texts: {_difference(text, decoded)}")
    return encodings


def _shown(text: str) -> str:
    return f"the text {text[:40]!r}{f' ... of {len(text):,} characters' if text[40:] else ''}"


def _difference(text: str, decoded: str) -> str:
    both = enumerate(zip(text, decoded, strict=False))
    place = next((i for i, (a, b) in both if a != b), min(len(text), len(decoded)))
    start = max(0, place - 4)
    return (
        f"{text[start : place + 8]!r} comes back as {decoded[start : place + 8]!r}; figures of it "
        "would be of another text, so take a byte-level tokenizer without normalizer"
    )


def num_ids(tokenizer: Tokenizer) -> int:
    """Up to the largest token id, wherever the vocabulary has gaps."""
    return 1 + max(tokenizer.get_vocab().values(), default=-1)


def decode(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    """Exact inverse of encoding."""
    with refusing("the tokenizer cannot decode"):
        return str(tokenizer.decode(token_ids, skip_special_tokens=False))


def tokenized(
    tokenizer: Tokenizer, rows: Iterable[dict[str, str]], path: Path
) -> Iterator[TokenizedDocument]:
    """Token ids of documents, rows with `text` and `domain`, in their order."""
    if num_ids(tokenizer) > MOST_IDS:
        raise ValueError(
            f"{path} has the token id {num_ids(tokenizer) - 1:,}; a corpus holds ids below "
            f"{MOST_IDS:,}"
        )
    remaining = iter(rows)
    while batch := list(islice(remaining, ENCODED_AT_ONCE)):
        encodings = encoded(tokenizer, [row["text"] for row in batch], path)
        for row, encoding in zip(batch, encodings, strict=True):
            yield TokenizedDocument(
                token_ids=np.array(encoding.ids, dtype=np.uint16),
                domain=row["domain"],
                text_bytes=len(row["text"].encode()),
            )
