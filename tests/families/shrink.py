"""The config of a tiny model, from the defaults of its class and the names of its fields."""

import dataclasses
import re
from typing import Any

from transformers import PreTrainedConfig

from tests.families.overrides import OVERRIDES

LAYERS = 3  # or as many as there are kinds of layers
VOCABULARY, DIM, WIDTH, HEADS, HEAD_DIM, RANK = 384, 32, 16, 4, 16, 8
EXPERTS, TOP_K, GROUPS = 8, 2, 2

# A field gets the value of the first pattern that is its whole name, ...
ALWAYS: dict[str, Any] = {  # ... here whatever its default is
    r"(moe_)?num_(local_)?experts|n_routed_experts": EXPERTS,
    r"num_experts_per_tok(en)?|moe_top_?k|moe_k|top_k_experts": TOP_K,
    r"(n|num|moe_num)_shared_experts": 1,
    r"moe_intermediate_size|expert_ffn_hidden_size": WIDTH,
    r"n_group": GROUPS,
    r"topk_group": 1,
    r"first_k_dense_replace|num_dense_layers|moe_layer_start_index": 1,
    r"mlp_only_layers": [0],
}
NUMBERS: dict[str, Any] = {  # ... and here if that is a number, and not 0
    r"(unpadded_)?vocab_size(_per_layer_input)?": VOCABULARY,
    r"((num|n)_)?((hidden|encoder|decoder)_)?layers|depth": LAYERS,
    r".*(kv|key_value|num_key)_(n_)?heads": HEADS // 2,
    r"(.*_)?(num|n|attention)_heads|num_.*_heads": HEADS,
    r"(.*_)?head_dim|kv_channels|d_kv": HEAD_DIM,
    r".*rank|ssm_state_size|mamba_d_state": RANK,
    r"(mamba_)?n_groups|o_groups": GROUPS,
    r"(.*_)?(hidden|intermediate|latent|input)_size(_mlp|_per_layer_input)?|d_model|d_ff": DIM,
    r"(.*_)?(mlp|ffn|hidden|embed|input|output|in|out|decoder|expert)_dim|output_channels": DIM,
    r"max_position_embeddings|max_seq_len": 512,
    r"sliding_window(_size)?|rel_extent": 128,
    r"(.*_)?position_embedding(s|_size)": 64,
    r"(max_)?image_size": 32,
    r"patch_size": 8,
    r"init.*_range|init_std": 0.1,
}
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "decoder_start_token_id": 0}
HEAD_COUNTS = ("num_attention_heads", "num_key_value_heads")
OTHER_TOKEN = VOCABULARY - 1  # stands for an image and the like: never in a text of bytes


def shrunk(config_class: type[Any]) -> Any:
    """Has a layer of each kind, and a dense one before the sparse ones if the family knows such."""
    default = config_class()
    made = vars(default)  # with what follows from other fields
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):
        if isinstance(made.get(field.name), PreTrainedConfig):
            values[field.name] = shrunk(type(made[field.name]))
        else:
            values |= _small(field.name, field.default)
    if "num_key_value_heads" in values and len({made.get(name) for name in HEAD_COUNTS}) == 1:
        values |= dict.fromkeys(HEAD_COUNTS, HEADS)
    lists = _layer_kinds(made, depth=getattr(default, "num_hidden_layers", None))
    if lists and "num_hidden_layers" in values:
        values["num_hidden_layers"] = len(next(iter(lists.values())))
    return config_class(**(values | lists | OVERRIDES.get(config_class.__name__, {})))


def _small(name: str, default: Any) -> dict[str, Any]:
    if re.fullmatch(r".*token_(id|index)", name):
        return {} if default is None else {name: TOKENS.get(name, OTHER_TOKEN)}
    is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
    rules = ALWAYS | NUMBERS if is_number and default else ALWAYS
    return next(({name: rules[p]} for p in rules if re.fullmatch(p, name)), {})


def _layer_kinds(made: dict[str, Any], *, depth: int | None) -> dict[str, Any]:
    """Lists with a word a layer: each word once, in the order of the original, then its last."""
    kinds = {
        name: list(dict.fromkeys(value))
        for name, value in made.items()
        if isinstance(value, list) and len(value) == depth and isinstance(value[0], str)
    }
    if kinds.get("mlp_layer_types") == ["sparse"]:
        kinds["mlp_layer_types"] = ["dense", "sparse"]
    layers = max([LAYERS, *map(len, kinds.values())])
    return {name: (words + words[-1:] * layers)[:layers] for name, words in kinds.items()}
