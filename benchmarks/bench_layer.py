"""An MoE layer against the same layer of transformers (DeepSeek-V3), with the same weights.

    python -m benchmarks.bench_layer                       # the grid of this machine's GPU, or CPU
    python -m benchmarks.bench_layer --random 20 --seed 7  # shapes that nobody chose

Sigmoid gate, one group, weights that sum to 1, one shared expert. Every shape is compared with the
better of transformers' ways, which differs. T = tokens, D = model dim, E = routed experts, k =
those of a token, F = their width.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import exp, log
from typing import Any, NamedTuple, cast

import torch
import transformers
from torch import Tensor, nn
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from benchmarks.timing import in_turn, queued
from model.config import ModelConfig
from model.moe import MoE, new_moe

WAYS = ("grouped_mm", "eager", "batched_mm")
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
SHARE = 0.95  # of the better of transformers' speed, below which a shape is a miss
GATHERED = 2**31  # bytes of weights that batched_mm may copy, one set a choice
WRITTEN = {"cuda": 4e11, "cpu": 5e9}  # bytes of gradients that eager may write, all for each expert
MEMORY = {"cuda": 100e9, "cpu": 4e9}  # bytes of weights, their copy and gradients
WORK = {"cuda": 4e13, "cpu": 4e10}  # operations of a forward
SECONDS = {"cuda": 0.12, "cpu": 1.5}  # of runs of one way in one direction
PASS = 2.0  # seconds; what takes longer is measured once


class Shape(NamedTuple):
    tokens: int
    dim: int
    experts: int
    top_k: int
    width: int

    @property
    def weights(self) -> int:
        return 3 * self.experts * self.dim * self.width

    @property
    def operations(self) -> int:
        return 6 * self.tokens * self.top_k * self.dim * self.width


MODELS = {  # D, E, k, F
    "cuda": [
        (2048, 64, 6, 1408),  # DeepSeekMoE 16B
        (2048, 64, 8, 1024),  # OLMoE
        (4096, 64, 8, 1536),
        (4096, 8, 2, 14336),  # Mixtral
        (2048, 128, 8, 768),  # Qwen3 30B
        (7168, 256, 8, 2048),  # DeepSeek-V3
        (7168, 384, 8, 2048),  # Kimi K2
        (1024, 16, 2, 4096),  # GShard
        (1024, 128, 1, 2048),  # Switch
        (512, 64, 6, 352),
        (512, 64, 16, 128),
        (1024, 8, 8, 512),
    ],
    "cpu": [
        (512, 64, 6, 352),
        (512, 8, 4, 512),
        (512, 8, 2, 1024),
        (512, 128, 8, 128),
        (512, 64, 16, 64),
        (1024, 16, 2, 512),
        (1024, 64, 1, 512),
        (2048, 8, 2, 512),
        (512, 8, 8, 256),
    ],
}
TOKENS = {"cuda": (512, 4096, 32768), "cpu": (512, 2048)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Every fifth shape.")
    parser.add_argument("--random", type=int, metavar="N", help="N shapes drawn by --seed instead.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--type", choices=TYPES, action="append", help="Else both.")
    parser.add_argument("--seconds", type=float, default=600, help="No shape begins later.")
    parser.add_argument("--cpu", action="store_true", help="Where there is a GPU, too.")
    given = parser.parse_args()
    torch.set_float32_matmul_precision("high")  # as a training does
    device = "cuda" if torch.cuda.is_available() and not given.cpu else "cpu"
    place = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else torch.cpu.get_capabilities()["cpu_name"]
    )
    print(f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}, ", end="")
    print(f"transformers {transformers.__version__}, seed {given.seed}")
    shapes = list(drawn(given.random, given.seed, device) if given.random else grid(device))
    compare_all(
        shapes[:: 5 if given.quick else 1],
        given.type or list(TYPES),
        device,
        seed=given.seed,
        until=time.monotonic() + given.seconds,
    )


def grid(device: str) -> Iterator[Shape]:
    for tokens in TOKENS[device]:
        for model in MODELS[device]:
            yield Shape(tokens, *model)


def drawn(number: int, seed: int, device: str) -> Iterator[Shape]:
    draw = random.Random(seed)
    most = {"cuda": Shape(32768, 7168, 384, 16, 4096), "cpu": Shape(4096, 1536, 128, 16, 1024)}
    while number:
        tokens, dim, experts, top_k, width = (
            round(exp(draw.uniform(log(least), log(limit))))
            for least, limit in zip((512, 512, 8, 1, 64), most[device], strict=True)
        )
        shape = Shape(tokens, dim // 64 * 64, experts, min(top_k, experts), width // 16 * 16)
        if shape.operations <= WORK[device] and shape.weights * 12 <= MEMORY[device]:
            number -= 1
            yield shape


def compare_all(
    shapes: list[Shape], kinds: list[str], device: str, *, seed: int, until: float
) -> None:
    print("| T, D, E, k, F | type | forward, ms: ours / transformers | | both, ms | | difference |")
    print("|---|---|---|---|---|---|---|")
    ratios: dict[tuple[str, str], list[tuple[float, Shape]]] = {}
    left_out = 0
    for kind in kinds:
        for shape in shapes:
            size = shape.weights * TYPES[kind].itemsize * 3
            too_large = size > MEMORY[device] or shape.operations > WORK[device]
            if too_large or time.monotonic() > until:
                left_out += 1
                continue
            torch.manual_seed(seed)
            for direction, ratio in compare(shape, kind, device).items():
                ratios.setdefault((kind, direction), []).append((ratio, shape))
            if device == "cuda":
                torch.cuda.empty_cache()
    for (kind, direction), found in ratios.items():
        mean = statistics.geometric_mean(ratio for ratio, _ in found)
        worst, where = min(found)
        print(
            f"{kind}, {direction}: {len(found)} shapes, geometric mean {mean:.2f}, worst "
            f"{worst:.2f} at {', '.join(map(str, where))}; below {SHARE}: "
            f"{sum(ratio < SHARE for ratio, _ in found)}"
        )
    every = [ratio for found in ratios.values() for ratio, _ in found]
    if every:
        print(f"all: geometric mean {statistics.geometric_mean(every):.2f}; left out: {left_out}")


def compare(shape: Shape, kind: str, device: str) -> dict[str, float]:
    """Prints a row; ours / the better of transformers, by direction."""
    dtype = TYPES[kind]
    with torch.device(device):
        ours = our_layer(shape).to(dtype)
        theirs = their_layer(shape, ours).to(dtype)
        x_BSD = torch.randn(1, shape.tokens, shape.dim, dtype=dtype, requires_grad=True)
        ids_BS = torch.zeros(1, shape.tokens, dtype=torch.long)
    cells, ratios = [], {}
    for direction, once in (("forward", ahead), ("both", ahead_and_back)):
        runs: dict[str, Callable[[], object]] = {"ours": partial(once, ours, x_BSD, ids_BS)}
        ways = [way for way in WAYS if fits(way, shape, dtype, device, direction)]
        for way in ways:
            runs[way] = partial(in_their_way, theirs, way, once, x_BSD)
        seconds = measured(runs, device)
        best = min(ways, key=seconds.__getitem__)
        ratios[direction] = seconds[best] / seconds["ours"]
        own, other = 1e3 * seconds["ours"], 1e3 * seconds[best]
        cells.append(f"{own:.3g} / {other:.3g} {best} | **{ratios[direction]:.2f}**")
    output, reference = ahead(ours, x_BSD, ids_BS), in_their_way(theirs, ways[0], ahead, x_BSD)
    difference = ((output - reference).float().norm() / reference.float().norm()).item()
    cells = [", ".join(map(str, shape)), kind, *cells, f"{difference:.0e}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    return ratios


def fits(way: str, shape: Shape, dtype: torch.dtype, device: str, direction: str) -> bool:
    """What is left out is many times slower than grouped_mm."""
    if way == "batched_mm":
        return shape.operations // 2 * dtype.itemsize <= GATHERED
    written = shape.experts * shape.weights * dtype.itemsize
    return way != "eager" or direction == "forward" or written <= WRITTEN[device]


def measured(runs: Mapping[str, Callable[[], object]], device: str) -> dict[str, float]:
    """Median seconds of each, as many runs as fit; what takes far longer than another, once more.
    On a GPU the first run may compile. On a CPU all in turn."""
    last = {name: seconds_of(once, device) for name, once in runs.items()}
    again = {name: once for name, once in runs.items() if device == "cuda" or last[name] < PASS}
    last |= {name: seconds_of(once, device) for name, once in again.items()}
    least = min(last.values())
    found = dict(last)
    near = {name: once for name, once in runs.items() if last[name] < 4 * least and name in again}
    if device == "cuda":
        for name, once in near.items():
            repeats = max(5, min(40, round(SECONDS[device] / last[name])))
            found[name] = statistics.median(queued(once, repeats))
        return found
    repeats = max(5, min(40, round(SECONDS[device] / least)))
    turns = in_turn(near, repeats)
    return found | {name: statistics.median(seconds) for name, seconds in turns.items()}


def seconds_of(once: Callable[[], object], device: str) -> float:
    if device == "cuda":
        return queued(once, 1)[0]
    began = time.perf_counter()
    once()
    return time.perf_counter() - began


def our_layer(shape: Shape) -> MoE:
    layer = new_moe(
        ModelConfig(
            vocab_size=1,
            context_length=1,
            num_layers=1,
            hidden_dim=shape.dim,
            num_heads=1,
            head_dim=2,
            dense_ffn_dim=0,
            num_experts=shape.experts,
            top_k=shape.top_k,
            num_shared_experts=1,
            expert_dim=shape.width,
            router="sigmoid",
        )
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.02)
    return layer


def their_layer(shape: Shape, ours: MoE) -> nn.Module:
    config = DeepseekV3Config(
        hidden_size=shape.dim,
        moe_intermediate_size=shape.width,
        n_routed_experts=shape.experts,
        n_shared_experts=1,
        num_experts_per_tok=shape.top_k,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
    )
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


def in_their_way(layer: nn.Module, way: str, once: Callable[..., Tensor], x_BSD: Tensor) -> Tensor:
    cast(Any, layer).experts.config._experts_implementation = way
    return once(layer, x_BSD)


@torch.no_grad()
def ahead(layer: nn.Module, *inputs: Tensor) -> Tensor:
    output = layer(*inputs)
    return output[0] if isinstance(output, tuple) else output


def ahead_and_back(layer: nn.Module, *inputs: Tensor) -> Tensor:
    """Gradients of the input and of all weights; the output serves as its own gradient."""
    output = layer(*inputs)
    output = output[0] if isinstance(output, tuple) else output
    wanted = [inputs[0], *(weight for weight in layer.parameters() if weight.requires_grad)]
    torch.autograd.grad(output, wanted, output.detach())
    return output


if __name__ == "__main__":
    main()
