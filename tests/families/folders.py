"""Tiny models of transformers as folders, with a tokenizer of bytes."""

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from tests.families.found import Family, families
from tests.families.tiny import tiny
from tests.tokenizers import byte_tokenizer

SIX = ("mixtral", "olmoe", "qwen3_moe", "deepseek_v2", "deepseek_v3", "gpt_oss")


def family_called(name: str) -> Family:
    [family] = [family for family in families() if family.name == name]
    return family


def write_folder(name: str, folder: Path, *, seed: int = 0) -> Path:
    """The tiny model of a family in float32."""
    tiny(family_called(name), seed=seed).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(), eos_token="<|endoftext|>", model_max_length=512
    )
    tokenizer.save_pretrained(folder)
    return folder
