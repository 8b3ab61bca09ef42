"""An MoE layer against the same layer of transformers (DeepSeek-V3), with the same weights.

    pip install transformers==5.23.0
    python -m benchmarks.bench_layer

Sigmoid gate, one group, weights that sum to 1, shared experts. T = tokens, D = model dim.
"""

import argparse
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from benchmarks.timing import medians
from model.config import ModelConfig
from model.kernels.precision import product_dtype
from model.moe import MoE, new_moe

SIZES = {  # device: T, D, E, k, F, shared
    "cuda": [(16_384, 2048, 64, 6, 1408, 2)],
    "cpu": [(2_048, 512, 64, 6, 352, 2)],
}
DTYPES = {"cuda": [torch.bfloat16], "cpu": [torch.float32, torch.bfloat16]}
SIDE = {"cuda": 8_192, "cpu": 2_048}  # of a plain product's matrices, for the peak
WAYS = {"cuda": ["grouped_mm", "eager"], "cpu": ["grouped_mm"]}  # eager: 9 times as slow on a CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", action="store_true", help="Both layers compiled, too.")
    compiled = parser.parse_args().compile
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")  # as a training does: it is for the gate
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = (
        torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    )
    print(f"{device}, {name}, torch {torch.__version__}")
    print(
        "| T, D, E, k, F | type | layer | forward, ms | of peak | both, ms | of peak | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size in SIZES[device]:
        for dtype in DTYPES[device]:
            compare(size, dtype, device, compiled=compiled)


def compare(size: tuple[int, ...], dtype: torch.dtype, device: str, *, compiled: bool) -> None:
    tokens, dim, num_experts, top_k, width, shared = size
    ours = our_layer(size).to(device, dtype)
    x_BSD = torch.randn(1, tokens, dim, device=device, dtype=dtype, requires_grad=True)
    ids_BS = torch.zeros(1, tokens, dtype=torch.long, device=device)
    modules: dict[str, nn.Module] = {"ours": ours}
    for way in WAYS[device]:
        modules[f"transformers, {way}"] = their_layer(size, way, ours).to(device, dtype)
    if compiled:
        for name in [name for name in modules if "eager" not in name]:
            modules[f"{name}, compiled"] = cast(nn.Module, torch.compile(modules[name]))
    inputs = {name: (x_BSD, ids_BS) if name.startswith("ours") else (x_BSD,) for name in modules}
    repeats = 40
    if product_dtype(x_BSD) != dtype:  # a pass of theirs takes a quarter of a minute
        repeats = 3
    matrix = torch.randn(2 * (SIDE[device],), device=device, dtype=product_dtype(x_BSD))
    forward, both = (
        medians(
            {name: partial(once, module, *inputs[name]) for name, module in modules.items()}
            | {"product": partial(torch.mm, matrix, matrix)},
            device,
            repeats,
            warm_up=min(3, repeats // 3),
        )
        for once in (ahead, ahead_and_back)
    )
    flops = 6 * tokens * dim * width * (top_k + shared)
    reference = ahead(ours, *inputs["ours"]).float()
    for name, module in modules.items():
        output = ahead(module, *inputs[name]).float()
        difference = ((output - reference).norm() / reference.norm()).item()
        label = f"{tokens}, {dim}, {num_experts}, {top_k}, {width}"
        kind = str(dtype).removeprefix("torch.")
        cells = " | ".join(
            f"{1e3 * seconds[name]:.2f} | {share:.0%}"
            for seconds, times in ((forward, 1), (both, 3))
            for share in [
                times * flops * seconds["product"] / seconds[name] / 2 / SIDE[device] ** 3
            ]
        )
        print(f"| {label} | {kind} | {name} | {cells} | {difference:.1e} |", flush=True)
    peaks = (2 * SIDE[device] ** 3 / seconds["product"] / 1e12 for seconds in (forward, both))
    peak = ", ".join(f"{each:.3f}" for each in peaks)
    print(
        f"products of a forward: {flops / 1e12:.4f} TFLOP; peak in the two rounds: {peak} TFLOP/s"
    )


def our_layer(size: tuple[int, ...]) -> MoE:
    _, dim, num_experts, top_k, width, shared = size
    layer = new_moe(
        ModelConfig(
            vocab_size=1,
            context_length=1,
            num_layers=1,
            hidden_dim=dim,
            num_heads=1,
            head_dim=2,
            dense_ffn_dim=0,
            num_experts=num_experts,
            top_k=top_k,
            num_shared_experts=shared,
            expert_dim=width,
            router="sigmoid",
        )
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.02)
    return layer


def their_layer(size: tuple[int, ...], way: str, ours: MoE) -> nn.Module:
    _, dim, num_experts, top_k, width, shared = size
    config = DeepseekV3Config(
        hidden_size=dim,
        moe_intermediate_size=width,
        n_routed_experts=num_experts,
        n_shared_experts=shared,
        num_experts_per_tok=top_k,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
    )
    config._experts_implementation = way
    layer = DeepseekV3MoE(config)
    assert ours.shared_experts is not None
    gate, up = ours.shared_experts.gate_up.weight.chunk(2)
    with torch.no_grad():
        layer.gate.weight.copy_(ours.gate.weight_ED)
        layer.gate.e_score_correction_bias.zero_()
        layer.experts.gate_up_proj.copy_(ours.experts.gate_up_EDF.transpose(1, 2))
        layer.experts.down_proj.copy_(ours.experts.down_EFD.transpose(1, 2))
        layer.shared_experts.gate_proj.weight.copy_(gate)
        layer.shared_experts.up_proj.weight.copy_(up)
        layer.shared_experts.down_proj.weight.copy_(ours.shared_experts.down.weight)
    return layer


@torch.no_grad()
def ahead(layer: nn.Module, *inputs: Tensor) -> Tensor:
    output = layer(*inputs)
    return output[0] if isinstance(output, tuple) else output


def ahead_and_back(layer: nn.Module, *inputs: Tensor) -> None:
    """Gradients of the input and of all weights; the output serves as its own gradient."""
    output = layer(*inputs)
    output = output[0] if isinstance(output, tuple) else output
    wanted = [inputs[0], *(weight for weight in layer.parameters() if weight.requires_grad)]
    torch.autograd.grad(output, wanted, output.detach())


if __name__ == "__main__":
    main()
