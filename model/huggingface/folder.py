"""What lies in a folder of transformers, before anything of its size is made or read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, logging
from transformers.models.auto import modeling_auto
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from data.strict_json import read_object
from data.words import first_line
from model.fingerprint import require_whole, transformers_weights
from model.huggingface.layers import HuggingFaceLayer, find_layers

logging.set_verbosity_error()
logging.disable_progress_bar()

TWO_STACKS = "AutoModelForSeq2SeqLM"
HEADS = {  # classes with a language model's head, the plainest first
    "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    TWO_STACKS: modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "AutoModelForImageTextToText": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
}
NUM_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")  # as routers or configs say
TOP_K = ("top_k", "num_experts_per_tok", "top_k_experts")
LAYERS = ("num_hidden_layers", "num_layers", "num_decoder_layers")
TOKENIZERS = ("*token*", "vocab*", "*.model")
MOST_LAYERS = 1_000
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model of transformers that can be loaded."""

    folder: Path
    config: Any
    auto_class: str
    module: nn.Module  # on the meta device
    moe_layers: list[HuggingFaceLayer]  # of that
    parameters: int
    stored_bytes: int
    num_experts: int | None  # the most of a layer; None: no config names it
    top_k: int | None
    num_shared_experts: int

    def needed_bytes(self, dtype: torch.dtype) -> int:
        return self.parameters * dtype.itemsize


def look_into(folder: Path) -> Found:
    """ValueError: no MoE language model that transformers can make without code of others."""
    require_safetensors(folder)
    if (
        settings := folder / "generation_config.json"
    ).exists():  # transformers leaves a bad one out
        read_object(settings, remedy="copy the model again, or delete it")
    config, auto_class, module, layers = without_weights(folder)
    return Found(
        folder=folder,
        config=config,
        auto_class=auto_class,
        module=module,
        moe_layers=layers,
        parameters=sum(weight.numel() for weight in module.parameters()),
        stored_bytes=sum(path.stat().st_size for path in transformers_weights(folder)),
        num_experts=max(number_of(layer, config, NUM_EXPERTS) for layer in layers) or None,
        top_k=max(number_of(layer, config, TOP_K) for layer in layers) or None,
        num_shared_experts=max(layer.num_shared_experts for layer in layers),
    )


def without_weights(folder: Path) -> tuple[Any, str, nn.Module, list[HuggingFaceLayer]]:
    """Config, class, the model on the meta device and its MoE layers, from the config alone."""
    config = read_config(folder)
    auto_class = class_for(config, folder)
    config.is_encoder_decoder = auto_class == TWO_STACKS
    module = empty_model(config, auto_class)
    layers = find_layers(module)
    if not layers:
        raise ValueError(
            f"the model in {folder} ({config.model_type}) is dense: it has no experts to capture"
        )
    return config, auto_class, module, layers


def number_of(layer: HuggingFaceLayer, config: Any, names: tuple[str, ...]) -> int:
    places = (layer.gate, layer.block, config.get_text_config(decoder=True))
    given = (getattr(place, name, None) for place in places for name in names)
    return next((int(value) for value in given if isinstance(value, int)), 0)


def require_safetensors(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"no model in {folder}: config.json is missing")
    if not transformers_weights(folder):
        pickled = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
        if pickled:
            raise ValueError(
                f"{folder} has its weights as {pickled[0]}, a format that can run code; get them "
                "as safetensors, or convert them where you trust the file"
            )
        raise ValueError(f"no weights in {folder}: model.safetensors is missing")
    for path in transformers_weights(folder):
        require_whole(path)


def read_config(folder: Path) -> Any:
    """How a model is computed, and of which files, is chosen here: its own config may name what is
    not installed, code on the hub, or weights that nobody looked at."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config._attn_implementation = config._experts_implementation = None
        config.transformers_weights, config.return_dict = None, True
    except Exception as error:  # of a stranger's file: types, values and templates of any kind
        given = read_object(folder / "config.json", remedy="copy the model again")
        if "auto_map" in given:
            raise ValueError(
                f"the model in {folder} ({str(given.get('model_type'))[:40]}) runs only with code "
                "of its author, which is never run here; use one of transformers' own"
            ) from error
        raise ValueError(f"{folder}/config.json cannot be used: {first_line(error)}") from error
    require_known_quantization(folder, config)
    for name in LAYERS:
        number = getattr(config.get_text_config(decoder=True), name, None)
        if isinstance(number, int) and number > MOST_LAYERS:
            raise ValueError(f"{folder}/config.json cannot be used: {name} is {number:,}")
    return config


def require_known_quantization(folder: Path, config: Any) -> None:
    """transformers reads weights of a kind that it does not know as if they were plain."""
    given = getattr(config, "quantization_config", None)
    method = given.get("quant_method") if isinstance(given, dict) else None
    known = {*AUTO_QUANTIZER_MAPPING, "bitsandbytes"}  # which stands there by its number of bits
    if method is not None and method not in known:
        raise ValueError(
            f"the weights in {folder} are quantized by {str(method)[:40]!r}, which transformers "
            "does not know; use the original"
        )


def class_for(config: Any, folder: Path) -> str:
    for auto_class, names in HEADS.items():
        if config.model_type in names:
            return auto_class
    raise ValueError(
        f"the model in {folder} ({config.model_type}) has no language model's head in transformers"
    )


def empty_model(config: Any, auto_class: str) -> nn.Module:
    """Its modules without memory for weights."""
    import transformers

    try:
        with torch.device("meta"):
            return getattr(transformers, auto_class).from_config(config)
    except Exception as error:
        raise ValueError(f"transformers cannot make this model: {first_line(error)}") from error


def read_tokenizer(folder: Path) -> Any:
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise ValueError(f"no tokenizer in {folder}: tokenizer.json is missing")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise ValueError(
            f"no tokenizer in {folder} that transformers can read: {first_line(error)}"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # made of nothing but the config
        raise ValueError(f"no tokenizer in {folder}: tokenizer.json is missing")
    return tokenizer


def fitting_tokenizer(found: Found) -> Any:
    tokenizer = read_tokenizer(found.folder)
    rows = found.config.get_text_config(decoder=True).vocab_size
    last = max(tokenizer.get_vocab().values())
    if last >= rows:
        raise ValueError(
            f"the tokenizer in {found.folder} has the token id {last:,}, the model ids below "
            f"{rows:,}: they do not belong together"
        )
    return tokenizer
