"""Tokenizers small enough for a test."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from data.tokenizer import train_tokenizer


def byte_tokenizer() -> Tokenizer:
    """The start token and one entry a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {byte: i for i, byte in enumerate(alphabet, start=1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def cat_tokenizer() -> Tokenizer:
    """Bytes, and the words of one line about a cat: 270 entries."""
    return train_tokenizer(["the cat sat on the mat, the dog on the log. " * 9], vocab_size=270)
