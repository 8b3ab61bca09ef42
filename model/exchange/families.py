"""The classes of transformers that our models become, and the fields of their config.json.

Attention is alike in all: rotary positions over the whole head, no biases, no norms of queries and
keys. Dense models become Llama's, gates of softmax Qwen2-MoE's or, where two weights sum to 1 and
nothing else is there, Mixtral's; those of sigmoid become GLM-4-MoE's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.config import ModelConfig
from model.exchange.counterparts import groups_limited, without_counterpart

Values = Mapping[str, Any]  # of a config.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`write` and `read` are of what has another form than in ours."""

    model_type: str
    architecture: str
    routers: tuple[str, ...]  # ours that it can be; of several, the first if nothing says which
    renamed: Mapping[str, str]  # field of ours: field of theirs
    fixed: Mapping[str, object] = field(default_factory=dict)  # as all of ours are
    write: Callable[[ModelConfig], dict[str, object]] = lambda config: {}
    read: Callable[[Values], dict[str, object]] = lambda values: {}
    rope: Mapping[str, float] = field(default_factory=dict)  # beside the base
    block: str = "mlp"  # where a layer has its gate and its experts
    projections: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")  # of an expert
    shared: str | None = None  # the name of shared experts, which are one
    halves_shared: bool = False  # they are times a sigmoid, of 0 here
    biased: bool = False


COMMON = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "num_layers": "num_hidden_layers",
    "hidden_dim": "hidden_size",
    "num_heads": "num_attention_heads",
    "head_dim": "head_dim",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
}
FIXED = {"hidden_act": "silu", "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 0}


def fields(config: ModelConfig, family: Family) -> dict[str, object]:
    """All of config.json that makes a model what it is."""
    renamed = {**COMMON, **family.renamed}
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **{theirs: getattr(config, ours) for ours, theirs in renamed.items()},
        "num_key_value_heads": config.num_heads,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": config.rope_base,
            **family.rope,
        },
        **FIXED,
        **family.fixed,
        **family.write(config),
    }


def family_of(config: ModelConfig) -> Family:
    """ValueError: none of them has what this model has."""
    if feature := without_counterpart(config):
        raise ValueError(
            f"no class of transformers that RouteScope writes ({', '.join(FAMILIES)}) has {feature}"
        )
    if not config.num_experts:
        return FAMILIES["llama"]
    if config.router == "sigmoid":
        return FAMILIES["glm4_moe"]
    more = config.num_shared_experts or config.first_dense_layers
    return FAMILIES["mixtral" if config.router == "gshard" and not more else "qwen2_moe"]


def whole(values: Values, name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} ({repr(value)[:40]}) must be a whole number")
    return value


def write_qwen2_moe(config: ModelConfig) -> dict[str, object]:
    return {
        "norm_topk_prob": config.router == "gshard",
        "shared_expert_intermediate_size": config.num_shared_experts * config.expert_dim,
        "mlp_only_layers": list(range(config.first_dense_layers)),
        "layer_types": ["full_attention"] * config.num_layers,
    }


def read_qwen2_moe(values: Values) -> dict[str, object]:
    width, shared = (whole(values, f"{x}_intermediate_size") for x in ("moe", "shared_expert"))
    dense = values.get("mlp_only_layers")
    return {
        "num_shared_experts": shared // max(1, width),
        "first_dense_layers": len(dense) if isinstance(dense, list) else 0,
        **({"router": "gshard"} if values.get("norm_topk_prob") else {}),
    }


def write_glm4_moe(config: ModelConfig) -> dict[str, object]:
    limited = groups_limited(config)
    return {
        "n_group": config.expert_groups if limited else 1,
        "topk_group": config.groups_per_token if limited else 1,
    }


def read_glm4_moe(values: Values) -> dict[str, object]:
    groups, allowed = whole(values, "n_group"), whole(values, "topk_group")
    return {"expert_groups": groups, "groups_per_token": allowed} if groups > 1 else {}


FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            model_type="llama",
            architecture="LlamaForCausalLM",
            routers=("softmax",),  # the default: dense, it has no gate
            renamed={"dense_ffn_dim": "intermediate_size"},
            fixed={"attention_bias": False, "mlp_bias": False},
        ),
        Family(
            model_type="mixtral",
            architecture="MixtralForCausalLM",
            routers=("gshard",),
            renamed={
                "num_experts": "num_local_experts",
                "top_k": "num_experts_per_tok",
                "expert_dim": "intermediate_size",
            },
            fixed={"sliding_window": None},
            block="block_sparse_moe",
            projections=("w1", "w3", "w2"),
        ),
        Family(
            model_type="qwen2_moe",
            architecture="Qwen2MoeForCausalLM",
            routers=("softmax", "switch", "gshard"),
            renamed={
                "num_experts": "num_experts",
                "top_k": "num_experts_per_tok",
                "expert_dim": "moe_intermediate_size",
                "dense_ffn_dim": "intermediate_size",
            },
            fixed={"decoder_sparse_step": 1, "qkv_bias": False, "use_sliding_window": False},
            write=write_qwen2_moe,
            read=read_qwen2_moe,
            shared="shared_expert",
            halves_shared=True,
        ),
        Family(
            model_type="glm4_moe",
            architecture="Glm4MoeForCausalLM",
            routers=("sigmoid",),
            renamed={
                "num_experts": "n_routed_experts",
                "top_k": "num_experts_per_tok",
                "expert_dim": "moe_intermediate_size",
                "num_shared_experts": "n_shared_experts",
                "dense_ffn_dim": "intermediate_size",
                "first_dense_layers": "first_k_dense_replace",
            },
            fixed={
                "norm_topk_prob": True,
                "routed_scaling_factor": 1.0,
                "use_qk_norm": False,
                "attention_bias": False,
                "num_nextn_predict_layers": 0,
            },
            write=write_glm4_moe,
            read=read_glm4_moe,
            rope={"partial_rotary_factor": 1.0},
            shared="shared_experts",
            biased=True,
        ),
    )
}
