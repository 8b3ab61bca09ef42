"""Quantized experts that load here are recorded exactly: each of their weights is what it stands
for once it is unpacked.

E = experts, D = model dim, F = expert width.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GptOssConfig, GptOssForCausalLM

from model.huggingface.loading import load_huggingface
from model.recording import recorded_routing
from tests.families.tiny import tiny
from tests.model.huggingface.folders import FAMILIES, byte_tokenizer
from tests.model.huggingface.replay import passing, worst_error

VALUES = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])  # of FP4 (OCP MX 1.0, E2M1), then the negative


def packed_fp4(weights_EAB: Tensor) -> tuple[Tensor, Tensor]:
    """(blocks of 32 numbers in 16 bytes, the exponents of their scales) along the last axis."""
    rows = weights_EAB.unflatten(-1, (-1, 32))
    exponent = (rows.abs().amax(-1) / 6).clamp_min(2.0**-100).log2().ceil()
    levels = torch.cat([VALUES, -VALUES])
    codes = (rows / 2.0 ** exponent.unsqueeze(-1)).unsqueeze(-1).sub(levels).abs().argmin(-1)
    blocks = codes[..., ::2] + 16 * codes[..., 1::2]
    return blocks.to(torch.uint8), (exponent + 127).to(torch.uint8)


def gpt_oss_in_mxfp4(folder: Path) -> None:
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 2}
    config = GptOssConfig(
        **sizes,
        vocab_size=384,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=6,
        num_experts_per_tok=2,
        max_position_embeddings=512,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    model = GptOssForCausalLM(config)
    for layer in model.model.layers:
        layer.mlp.router.weight.data.normal_(std=0.5)
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        blocks, scales = packed_fp4(tensors.pop(name).transpose(1, 2))
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    save_file(tensors, path, metadata={"format": "pt"})
    quantized(folder, {"quant_method": "mxfp4"})


def deepseek_v3_in_fp8(folder: Path) -> None:
    """Experts and other projections in blocks of 128 x 128, as the published one."""
    tiny(FAMILIES["deepseek_v3"]).save_pretrained(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in [name for name in tensors if "proj.weight" in name]:
        scale = tensors[name].abs().amax() / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scale.reshape(1, 1)
    save_file(tensors, path, metadata={"format": "pt"})
    quantized(folder, {"quant_method": "fp8", "weight_block_size": [128, 128]})


def quantized(folder: Path, how: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": how}))
    byte_tokenizer().save_pretrained(folder)


@pytest.mark.parametrize("make", [gpt_oss_in_mxfp4, deepseek_v3_in_fp8])
def test_recorded_routing_of_quantized_experts_replays(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "model")
    model = load_huggingface(tmp_path / "model", dtype="float32")
    layers = list(model.moe_layers())
    ids_BS = torch.tensor([model.read(["The cat sat on the mat."])[0].token_ids])
    with torch.no_grad(), recorded_routing(model) as recording, passing(layers) as passed:
        model.route(ids_BS)
        decisions = recording.take()
    assert decisions.explained_TL.all()
    assert worst_error(layers, decisions, passed, np.arange(ids_BS.shape[1])) <= 1e-5
    assert len(np.unique(decisions.expert_ids_TLK)) > 2
