"""What a capture costs: over the bare forward, over a bare insert, and in memory.

    python benchmarks/bench_capture.py                       # the shipped model, on the CPU
    python benchmarks/bench_capture.py --device cuda         # the same on a GPU, in bfloat16
    python benchmarks/bench_capture.py --device cuda --preset 16b --layers 4

Prints a table; the last line is one JSON object.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import torch

from app.studies.reader import CHECKPOINT
from benchmarks.capture.memory import measure_memory, memory
from benchmarks.capture.subject import description, documents_of, subject
from benchmarks.capture.turns import interleaved
from benchmarks.capture.writer import writer
from data.store import TraceStore
from model.capture import (
    WINDOW_BATCHES,
    batches,
    capture_documents,
    pad_sequences,
    token_loss,
    windows,
)
from model.deepseek_moe import DeepSeekMoE
from model.encoded import Encoded
from model.presets import PRESETS
from model.recording import recorded_routing

BARS = {"cpu": 5, "cuda": 5}  # percent over the bare forward


def main() -> None:
    arguments = parsed()
    torch.set_float32_matmul_precision("high")
    if arguments.memory_of:
        measure_memory(arguments)
        return
    figures: dict[str, object] = environment(arguments)
    print("  ".join(f"{name}: {value}" for name, value in figures.items()))
    if arguments.preset is None and arguments.device == "cpu":
        figures |= memory(arguments)  # first: a child's peak is at least what its parent held
    model = subject(arguments)
    figures |= overhead(model, arguments)
    if arguments.preset is None:
        figures |= writer(model)
    print(json.dumps(figures))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=BARS, default="cpu")
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument("--preset", choices=PRESETS, help="random weights instead of --model")
    parser.add_argument("--layers", type=int, default=4, help="of the preset, first dense ones too")
    parser.add_argument("--tokens", type=int, help="a repetition; by default 64k, on a GPU 1M")
    parser.add_argument("--batch-tokens", type=int, help="by default what a capture takes")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--memory-tokens", type=int, default=1_000_000)
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)  # the child's trace
    arguments = parser.parse_args()
    if arguments.tokens is None:
        arguments.tokens = 65_536 if arguments.device == "cpu" else 1_048_576
    if arguments.batch_tokens is None:
        arguments.batch_tokens = 2_048 if arguments.device == "cpu" else 32_768
    return arguments


def environment(arguments: argparse.Namespace) -> dict[str, object]:
    cuda = arguments.device == "cuda"
    return {
        "hardware": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "duckdb": duckdb.__version__,
        "model": arguments.preset or "shipped",
        "command": " ".join(["python", *sys.argv]),
    }


def overhead(model: DeepSeekMoE, arguments: argparse.Namespace) -> dict[str, object]:
    encoded = documents_of(model, arguments.tokens)
    tokens = sum(len(item.token_ids) for item in encoded)
    groups = grouped(encoded, arguments.batch_tokens, WINDOW_BATCHES[arguments.device])

    def bare() -> None:
        for group in groups:
            model.logits(pad_sequences(model, group)[0])

    def hooks(*, loss: bool = False) -> None:
        with recorded_routing(model) as recording:
            transfers = []
            for group in groups:
                ids_BS, rows_R = pad_sequences(model, group)
                logits_BSV = model.logits(ids_BS)
                loss_R = None
                if loss:
                    following_T = ids_BS.roll(-1, dims=1).flatten()
                    loss_R = token_loss(logits_BSV, following_T)[rows_R - 1]
                del logits_BSV
                transfers.append(recording.transfer(rows_R, loss_R))
            for transfer in transfers:
                transfer.wait()

    def stored() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.duckdb"
            apart = model.device.type == "cuda"
            with TraceStore.create(path, description(model), apart=apart) as store:
                capture_documents(
                    model,
                    [item.document for item in encoded],
                    store,
                    batch_tokens=arguments.batch_tokens,
                )

    variants: dict[str, Callable[[], None]] = {
        "bare forward": bare,
        "hooks and copy": hooks,
        "and loss": lambda: hooks(loss=True),
        "and storing (whole capture)": stored,
    }
    seconds = interleaved(variants, arguments.repetitions, model.device)
    bare_seconds = seconds["bare forward"]
    print(f"\n{tokens:,} tokens in {len(groups)} batches, median of {arguments.repetitions}")
    print(f"{'':<30}{'tokens/s':>12}{'over bare':>12}{'lowest, highest':>20}{'CPU time':>12}")
    percent, cpu_percent = {}, {}
    for name, each in seconds.items():
        over = 100 * (np.array(each) / np.array(bare_seconds) - 1)  # wall, CPU of each repetition
        percent[name], cpu_percent[name] = np.median(over, axis=0).tolist()
        spread = f"{over[:, 0].min():.1f} to {over[:, 0].max():.1f}"
        rate = tokens / median(wall for wall, _ in each)
        print(
            f"{name:<30}{rate:>12,.0f}{percent[name]:>11.1f}%{spread:>20}{cpu_percent[name]:>11.1f}%"
        )
    return {
        "bare_tokens_per_second": round(tokens / median(wall for wall, _ in bare_seconds)),
        "hooks_percent": round(percent["hooks and copy"], 1),
        "loss_percent": round(percent["and loss"], 1),
        "capture_percent": round(percent["and storing (whole capture)"], 1),
        "capture_cpu_percent": round(cpu_percent["and storing (whole capture)"], 1),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],  # above the cores: others were measured too
        "capture_bar_percent": BARS[arguments.device],
    }


def grouped(encoded: list[Encoded], batch_tokens: int, window_batches: int) -> list[list[Encoded]]:
    """The batches that a capture makes, window by window."""
    return [
        [window[index] for index in batch]
        for window in windows(encoded, tokens=window_batches * batch_tokens)
        for batch in batches(window, tokens=batch_tokens)
    ]


if __name__ == "__main__":
    main()
