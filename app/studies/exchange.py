"""A model of ours as a folder that transformers loads, and such a folder as a model of ours."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from app.studies.reader import fitting_tokenizer
from data.outputs import new_folder, write_atomically
from data.strict_json import json_text
from data.tokenizer import save_with_start
from data.tokens import END_OF_TEXT_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def to_transformers(source: Path, out: Path) -> list[str]:
    """What was made of it, in words."""
    from model.config_file import load_config
    from model.exchange.folders import write_theirs

    stored = load_config(source)
    tokenizer = fitting_tokenizer(source / "tokenizer.json", stored.vocab_size)
    with new_folder(out) as folder:
        config, family = write_theirs(source, folder)
        save_with_start(source / "tokenizer.json", folder / "tokenizer.json")
        text = json_text(tokenizer_config(tokenizer, config.context_length), indent=2) + "\n"
        write_atomically(folder / "tokenizer_config.json", text)
    lines = [f"{family.architecture}, {config.context_length} tokens of context."]
    if stored.expert_dtype == "int8":
        lines.append("INT8 experts were written as the float32 numbers that they stand for.")
    if stored.expert_leaders is not None:
        lines.append("Experts that shared weights have a copy each.")
    return lines


def tokenizer_config(tokenizer: "Tokenizer", context_length: int) -> dict[str, object]:
    """The start token's name inside a text is ordinary characters, as it is to ours."""
    start = tokenizer.id_to_token(END_OF_TEXT_ID)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": start,
        "eos_token": start,
        "pad_token": start,
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }


def to_routescope(source: Path, out: Path) -> list[str]:
    """What was made of it, in words."""
    from model.exchange.folders import write_ours

    path = source / "tokenizer.json"
    with new_folder(out) as folder:
        config = write_ours(source, folder)
        fitting_tokenizer(path, config.vocab_size)
        shutil.copyfile(path, folder / path.name)
    experts = f"{config.top_k} of {config.num_experts} experts" if config.num_experts else "dense"
    return [f"{config.num_layers} blocks, {experts}."]
