"""What a capture of a model of transformers takes over its bare forward on a GPU.

    PYTHONPATH=. python3 benchmarks/bench_models_gpu.py

The shape of DeepSeek-V2-Lite with 28 layers, 16 billion random weights in bfloat16; batches of 32
texts of 512 tokens. Needs torch, transformers, tokenizers, NumPy, DuckDB and pyarrow. Prints a
table; the last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, PreTrainedTokenizerFast

from benchmarks.capture.subject import description
from data.routing import Document, RoutingBatch
from data.store import TraceStore
from model.capture import capture_documents, pad_sequences, token_loss
from model.encoded import Encoded, encoded_documents
from model.huggingface.model import HuggingFaceModel
from model.recording import recorded_routing

BAR = 5  # percent over the bare forward
TEXTS = 32  # of a batch
WARMING = 2  # batches of each way before the first is measured
SHAPE = {
    "hidden_size": 2_048,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "first_k_dense_replace": 1,
    "intermediate_size": 10_944,
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "n_shared_experts": 2,
    "moe_intermediate_size": 1_408,
    "q_lora_rank": None,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 102_400,
    "max_position_embeddings": 4_096,
}
TINY = {  # to try the script where there is no GPU, in float32
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "kv_lora_rank": 16,
    "vocab_size": 1_000,
}
ROUTER_STD = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=48)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=512, help="of each text")
    parser.add_argument("--whole", action="store_true", help="nothing between forward and capture")
    parser.add_argument("--tiny", action="store_true", help="a small shape, on the CPU")
    arguments = parser.parse_args()
    device = "cpu" if arguments.tiny else "cuda"
    model = random_model(SHAPE | (TINY if arguments.tiny else {}), device)
    description = model.description()
    print(f"{description.parameters / 1e9:.1f} billion parameters in {description.dtype}")
    groups = [texts(model, number, arguments.tokens) for number in range(arguments.batches)]
    with tempfile.TemporaryDirectory() as folder:
        with torch.inference_mode():
            for way in variants(model, groups[:WARMING], Path(folder)).values():
                way()
        ways = variants(model, groups, Path(folder))
        if arguments.whole:
            ways = {name: ways[name] for name in ("bare forward", "whole capture, into a trace")}
        seconds = in_turns(ways, arguments.repetitions, model.device)
    figures = table(seconds, arguments.batches * TEXTS * arguments.tokens)
    figures |= {name: version(name) for name in ("torch", "transformers")}
    figures["device"] = "CPU" if arguments.tiny else torch.cuda.get_device_name()
    print(json.dumps(figures | {"parameters": description.parameters, "bar_percent": BAR}))


def random_model(shape: dict[str, Any], device: str) -> HuggingFaceModel:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    with torch.device(device):
        module = DeepseekV2ForCausalLM(DeepseekV2Config(**shape)).eval()
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("mlp.gate.weight"):
                weight.normal_(std=ROUTER_STD)
    return HuggingFaceModel(module, word_tokenizer(shape["vocab_size"]))


def word_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """w0, w1, ...: a token each."""
    vocabulary = {f"w{number}": number for number in range(words)}
    vocabulary["[UNK]"] = vocabulary.pop(f"w{words - 1}")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def texts(model: HuggingFaceModel, number: int, tokens: int) -> list[Encoded]:
    """A batch of random words, as read."""
    words = len(model.text.tokenizer) - 1
    rng = np.random.default_rng(number)
    documents = [
        Document(
            doc_id=number * TEXTS + text,
            text=" ".join(f"w{word}" for word in rng.integers(0, words, tokens)),
        )
        for text in range(TEXTS)
    ]
    encoded = list(encoded_documents(model, documents))
    assert {len(item.token_ids) for item in encoded} == {tokens}
    return encoded


class Kept:
    """A sink that takes the batches."""

    tokens = 0

    def write(self, batch: RoutingBatch) -> None:
        self.tokens += len(batch.doc_id_T)


def variants(
    model: HuggingFaceModel, groups: list[list[Encoded]], folder: Path
) -> dict[str, Callable[[], object]]:
    """Traces stay in the folder: to delete one is no part of a capture."""
    numbers = count(len(list(folder.iterdir())))
    documents = [item.document for group in groups for item in group]
    tokens = len(groups[0][0].token_ids)

    def bare() -> None:
        for group in groups:
            model.logits(pad_sequences(model, group)[0])

    def with_loss() -> None:
        for group in groups:
            ids_BS, _ = pad_sequences(model, group)
            token_loss(model.logits(ids_BS), ids_BS.roll(-1, dims=1).flatten())

    def recorded() -> None:
        with recorded_routing(model) as recording:
            transfers = []
            for group in groups:
                ids_BS, rows_R = pad_sequences(model, group)
                loss_T = token_loss(model.logits(ids_BS), ids_BS.roll(-1, dims=1).flatten())
                transfers.append(recording.transfer(rows_R, loss_T[rows_R - 1]))
            for transfer in transfers:
                transfer.wait()

    def captured() -> None:
        sink = Kept()
        capture_documents(model, documents, sink, batch_tokens=TEXTS * (tokens + 1))
        assert sink.tokens == len(documents) * tokens

    def stored() -> None:
        trace = folder / f"{next(numbers)}.duckdb"
        with TraceStore.create(
            trace, description(model), apart=model.device.type == "cuda"
        ) as store:
            capture_documents(model, documents, store, batch_tokens=TEXTS * (tokens + 1))

    return {
        "bare forward": bare,
        "forward and loss": with_loss,
        "and recorded, on the host": recorded,
        "whole capture, into a sink": captured,
        "whole capture, into a trace": stored,
    }


@torch.inference_mode()
def in_turns(
    ways: dict[str, Callable[[], object]], repetitions: int, device: torch.device
) -> dict[str, list[tuple[float, float]]]:
    """(wall seconds, seconds between two CUDA events) of each way."""
    cuda = device.type == "cuda"
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            started = time.perf_counter()
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2 * cuda)]
            for event in events[:1]:
                event.record()
            way()
            for event in events[1:]:
                event.record()
                event.synchronize()
            wall = time.perf_counter() - started
            between = events[0].elapsed_time(events[1]) / 1e3 if cuda else wall
            seconds[name].append((wall, between))
    return seconds


def table(seconds: dict[str, list[tuple[float, float]]], tokens: int) -> dict[str, Any]:
    bare = np.array(seconds["bare forward"])
    percents: dict[str, Any] = {}
    print(f"{tokens:,} tokens a repetition, medians of {len(bare)} in turns")
    print(f"{'':<32}{'tokens/s':>10}{'over bare':>11}{'range':>16}{'by events':>11}")
    for name, each in seconds.items():
        over = 100 * (np.array(each) / bare - 1)
        wall, events = np.median(over, axis=0)
        rate = tokens / np.median(np.array(each)[:, 0])
        low, high = over[:, 0].min(), over[:, 0].max()
        spread = f"{low:.1f} to {high:.1f}"
        print(f"{name:<32}{rate:>10,.0f}{wall:>10.1f}%{spread:>16}{events:>10.1f}%")
        percents[name] = {"tokens_per_second": round(rate), "percent": round(float(wall), 2)}
        percents[name] |= {"range": [round(float(x), 2) for x in (low, high)]}
        percents[name] |= {"events_percent": round(float(events), 2)}
    return percents


if __name__ == "__main__":
    main()
