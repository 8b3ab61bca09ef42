"""Routing of a batch: the plain listing against what the model does (model/kernels/gpu_routing.py).

    python benchmarks/bench_routing.py    # on a GPU

Both give logits, weights, experts, each choice's place among the rows of all experts and where each
expert's end.
T = tokens, D = model dim, E = routed experts, K = experts per token.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from model.kernels.gpu_routing import fused_gate, ordered

TOKENS = 16_384
SIZES = ((2048, 64, 6), (7168, 256, 8))  # D, E, K
REPEATS = 50


def listing(x_TD: Tensor, weight_ED: Tensor, *, top_k: int) -> tuple[Tensor, ...]:
    """As one writes it: the gate in float32, softmax, top-k, a stable sort of the choices."""
    logits_TE = F.linear(x_TD.float(), weight_ED)
    weights_TK, ids_TK = F.softmax(logits_TE, dim=-1).topk(top_k, dim=-1)
    sorted_ids, order = ids_TK.flatten().sort(stable=True)
    experts_E = torch.arange(len(weight_ED), device=x_TD.device)
    ends_E = torch.searchsorted(sorted_ids, experts_E, right=True)
    return logits_TE, weights_TK, ids_TK, order, ends_E


def ours(x_TD: Tensor, weight_ED: Tensor, *, top_k: int) -> tuple[Tensor, ...]:
    logits_TE, weights_TK, ids_TK = fused_gate(x_TD, weight_ED, top_k=top_k, sigmoid=False)
    order = ordered(ids_TK, num_experts=len(weight_ED))
    return logits_TE, weights_TK, ids_TK, order.place_TK, order.ends_E


def main() -> None:
    torch.manual_seed(0)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {TOKENS} tokens")
    bandwidth, peak = measured_bandwidth(), measured_peak()
    print(f"copy {bandwidth / 1e12:.2f} TB/s, matrix units {peak / 1e12:.0f} TFLOP/s (bf16)")
    print("| D, E, k | way | us | graph, us | listing / it | of the roofline |")
    print("|---|---|---|---|---|---|")
    for dim, num_experts, top_k in SIZES:
        x_TD = torch.randn(TOKENS, dim, device="cuda").bfloat16()
        weight_ED = torch.randn(num_experts, dim, device="cuda") * 0.02
        ways: dict[str, Callable[[], tuple[Tensor, ...]]] = {
            "listing, float32": partial(listing, x_TD, weight_ED, top_k=top_k),
            "listing, TF32": partial(listing, x_TD, weight_ED, top_k=top_k),
            "listing, compiled": partial(torch.compile(listing), x_TD, weight_ED, top_k=top_k),
            "ours": partial(ours, x_TD, weight_ED, top_k=top_k),
            "ours, gate in bfloat16": partial(ours, x_TD, weight_ED.bfloat16(), top_k=top_k),
        }
        size = x_TD.numel() * 2 + weight_ED.numel() * 4 + TOKENS * (4 * num_experts + 12 * top_k)
        ideal = max(size / bandwidth, 2 * TOKENS * dim * num_experts / peak)
        reference = None
        for name, way in ways.items():
            torch.backends.cuda.matmul.allow_tf32 = name == "listing, TF32"
            plain, replayed = timed(way), graphed(way)
            reference = reference or min(plain, replayed)
            best = min(plain, replayed)
            cells = f"{1e6 * plain:.0f} | {1e6 * replayed:.0f} | {reference / best:.2f}"
            print(
                f"| {dim}, {num_experts}, {top_k} | {name} | {cells} | {ideal / best:.0%} |",
                flush=True,
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        compare(ways["listing, float32"](), ways["ours"]())


def compare(plain: tuple[Tensor, ...], ours: tuple[Tensor, ...]) -> None:
    """Experts may differ only where two scores are nearer than rounding."""
    logits = (plain[0] - ours[0]).abs().max().item()
    weights = (plain[1] - ours[1]).abs().max().item()
    same = (plain[2] == ours[2]).float().mean().item()
    sorted_ids, order = ours[2].flatten().sort(stable=True)
    exact = bool((ours[3].flatten()[order].diff() == 1).all() and ours[3].min() == 0)
    experts_E = torch.arange(plain[0].shape[1], device=order.device)
    ends = bool((torch.searchsorted(sorted_ids, experts_E, right=True) == ours[4]).all())
    print(
        f"largest difference: logits {logits:.1e}, weights {weights:.1e}; same choices "
        f"{same:.4%}; places of its own choices exact: {exact}, ends: {ends}"
    )


def timed(way: Callable[[], object]) -> float:
    """Median seconds, launches included."""
    for _ in range(5):
        way()
    found = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        way()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1e3)
    return sorted(found)[len(found) // 2]


def graphed(way: Callable[[], object]) -> float:
    """The same replayed as a CUDA graph: the time of the GPU alone."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            way()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        way()
    return timed(graph.replay)


def measured_bandwidth() -> float:
    """Bytes read and written a second by a copy."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * 2**30 / timed(lambda: target.copy_(source))


def measured_peak() -> float:
    """Floating-point operations a second of a large bf16 product."""
    left, right = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
    return 2 * 8192**3 / timed(lambda: left @ right)


if __name__ == "__main__":
    main()
