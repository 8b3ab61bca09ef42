"""Models of transformers with random weights, whose capture is measured."""

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from model.huggingface.layers import find_layers
from model.huggingface.model import HuggingFaceModel

VOCABULARY, CONTEXT = 512, 2_048
ROUTER_STD = 0.05  # of weights on states of length about 1: logits that differ by about 1
SHAPE = {"vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT}
SMALL = SHAPE | {
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "num_experts": 64,
    "num_experts_per_tok": 8,
}
NEIGHBOUR = SHAPE | {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "intermediate_size": 384,
}


def olmoe() -> Any:
    return OlmoeForCausalLM(OlmoeConfig(**SMALL, intermediate_size=256))


def qwen3_moe() -> Any:
    config = Qwen3MoeConfig(**SMALL, moe_intermediate_size=256, head_dim=64)
    return Qwen3MoeForCausalLM(config)


def mixtral() -> Any:
    return MixtralForCausalLM(MixtralConfig(**NEIGHBOUR))


SUBJECTS: dict[str, Callable[[], Any]] = {
    "OLMoE, 8 layers, 8 of 64 experts": olmoe,
    "Qwen3-MoE, 8 layers, 8 of 64 experts": qwen3_moe,
    "Mixtral, 12 layers, 4 of 32 experts": mixtral,
}


def subject(make: Callable[[], Any]) -> HuggingFaceModel:
    """In float32 on the CPU, with a tokenizer of bytes."""
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        for layer in find_layers(module):
            for weight in layer.gate.parameters():
                weight.normal_(std=ROUTER_STD)
    return HuggingFaceModel(module, byte_tokenizer())


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """An entry a byte, and none that is special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {byte: token_id for token_id, byte in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
