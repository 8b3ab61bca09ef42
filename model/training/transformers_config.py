"""A config.json of transformers, for a model that is trained on a corpus of ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

OF_STORED_WEIGHTS = ("dtype", "torch_dtype", "quantization_config", "auto_map", "_name_or_path")
START_ID = 0  # <|endoftext|>: precedes every document; as padding it would not be trained
SPECIAL_IDS = {"bos_token_id": START_ID, "eos_token_id": START_ID, "pad_token_id": None}


def read_config(values: Mapping[str, Any], path: Path) -> PreTrainedConfig:
    """Of what the file at `path` holds; what is about weights stored elsewhere is left out, and the
    special ids are those of our corpora."""
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ValueError(
            f"{path} has the model_type {kind!r}, which this version of transformers does not know"
        )
    config_class = CONFIG_MAPPING[kind]
    if config_class not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"{path}: transformers has no causal language model of type {kind!r}")
    kept = {name: value for name, value in values.items() if name not in OF_STORED_WEIGHTS}
    with refused(path):
        config: PreTrainedConfig = config_class.from_dict(kept | SPECIAL_IDS)
    for size in ("vocab_size", "max_position_embeddings"):
        if not isinstance(getattr(config.get_text_config(), size, None), int):
            raise ValueError(f"{path} has no {size}; add it")
    return config


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Of a config that passes for one until transformers, or torch, is given its numbers."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"transformers makes no model of {path}: {reason:.300}") from error
