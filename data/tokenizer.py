"""Byte-level BPE: any UTF-8 text comes back exactly, numbers are split into digits."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from data.tokens import END_OF_TEXT_ID, TokenizedDocument

END_OF_TEXT = "<|endoftext|>"  # starts every document, so it also ends the one before
VOCAB_SIZE = 16_384
ENCODED_AT_ONCE = 256  # documents


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
    """Loads a tokenizer; the special token's name inside a text is read as ordinary characters."""
    if not path.is_file():
        raise ValueError(f"no tokenizer at {path}; make one with `routescope corpus tokenize`")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the package raises nothing narrower, and Rust's panics
        raise ValueError(f"{path} is no tokenizer: {str(error)[:200]}") from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def num_ids(tokenizer: Tokenizer) -> int:
    """Up to the largest token id, wherever the vocabulary has gaps."""
    return 1 + max(tokenizer.get_vocab().values(), default=-1)


def decode(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    """Exact inverse of encoding."""
    return str(tokenizer.decode(token_ids, skip_special_tokens=False))


def bytes_per_token(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """UTF-8 bytes of all texts over their tokens, document starts not counted."""
    text_bytes = tokens = 0
    for text in texts:
        text_bytes += len(text.encode())
        tokens += len(tokenizer.encode(text).ids)
    if tokens == 0:
        raise ValueError("no text to measure; give at least one document that is not empty")
    return text_bytes / tokens


def tokenized(tokenizer: Tokenizer, rows: Iterable[dict[str, str]]) -> Iterator[TokenizedDocument]:
    """Token ids of documents, rows with `text` and `domain`, in their order."""
    remaining = iter(rows)
    while batch := list(islice(remaining, ENCODED_AT_ONCE)):
        encodings = tokenizer.encode_batch_fast([row["text"] for row in batch])
        for row, encoding in zip(batch, encodings, strict=True):
            yield TokenizedDocument(
                token_ids=np.array(encoding.ids, dtype=np.uint16),
                domain=row["domain"],
                text_bytes=len(row["text"].encode()),
            )
