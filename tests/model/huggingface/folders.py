"""Folders as transformers writes them: tiny models with a tokenizer of bytes."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.families.found import Family, families
from tests.families.tiny import tiny

FAMILIES: dict[str, Family] = {family.name: family for family in families()}
TEMPLATE = "{% for m in messages %}<user>{{ m.content }}\n{% endfor %}<answer>"
SPECIAL = {"<pad>": 0, "</s>": 1, "<s>": 2, "<user>": 3, "<answer>": 4}


def byte_tokenizer(*, start: bool = True, chat: bool = True) -> PreTrainedTokenizerFast:
    """A token a byte, after the five special ones; it begins every text with <s>, if it does."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: place + len(SPECIAL) for place, name in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary | SPECIAL, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if start:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", SPECIAL["<s>"])]
        )
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=["<user>", "<answer>"],
    )
    if chat:
        whole.chat_template = TEMPLATE
    return whole


def save(folder: Path, name: str, **tokenizer: Any) -> Path:
    """The tiny model of a family."""
    tiny(FAMILIES[name]).save_pretrained(folder)
    byte_tokenizer(**tokenizer).save_pretrained(folder)
    return folder
