"""Dumps of every format with made choices, as the tools write them. T = tokens, L = MoE layers,
K = chosen, E = routed experts."""

import base64
import io
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.importers.source import Options

TEXT_TOKENS = 512  # of a text


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a dump: how many tokens, layers and experts, and how many a token chooses."""

    tokens: int
    layers: int
    experts: int
    top_k: int

    @property
    def choices(self) -> int:
        return self.tokens * self.layers * self.top_k

    def texts(self, seed: int = 0) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(number, ids_TLK, weights_TLK) of each text; ids of a text are made once, and turned."""
        rng = np.random.default_rng(seed)
        shape = (min(TEXT_TOKENS, self.tokens), self.layers, self.experts)
        scores = rng.random(shape, np.float32)
        ids_TLK = np.argpartition(-scores, self.top_k - 1, -1)[..., : self.top_k]
        weights_TLK = np.sort(rng.dirichlet(np.ones(self.top_k), ids_TLK.shape[:2]), -1)[..., ::-1]
        for number, first in enumerate(range(0, self.tokens, TEXT_TOKENS)):
            tokens = min(TEXT_TOKENS, self.tokens - first)
            yield number, (ids_TLK[:tokens] + number) % self.experts, weights_TLK[:tokens]


def arrays(folder: Path, shape: Shape) -> None:
    for number, ids_TLK, _ in shape.texts():
        np.save(folder / f"text_{number:05}.npy", ids_TLK.astype(np.int16))


def sglang(folder: Path, shape: Shape) -> None:
    import torch

    records = []
    for number, ids_TLK, _ in shape.texts():
        records.append(
            {
                "forward_pass_id": number,
                "rank": 0,
                "gatherer_key": "primary",
                "input_ids": list(range(len(ids_TLK))),
                "positions": list(range(len(ids_TLK))),
                "extend_seq_lens": [len(ids_TLK)],
                "forward_mode": 1,
                "topk_ids_of_layer": torch.from_numpy(
                    np.ascontiguousarray(ids_TLK.swapaxes(0, 1), np.int32)
                ),
                "misc_objects": [],
            }
        )
    same = torch.arange(shape.experts).repeat(shape.layers, 1)
    dump = {"records": records, "last_physical_to_logical_map": same}
    torch.save(dump, folder / "expert_distribution_recorder_1_0.pt")


def sglang_counts(folder: Path, shape: Shape) -> None:
    import torch

    texts = shape.texts()
    counts = [
        [np.bincount(ids.ravel(), minlength=shape.experts) for ids in ids_TLK.swapaxes(0, 1)]
        for _, ids_TLK, _ in texts
    ]
    dump = {
        "rank": 0,
        "logical_count": torch.from_numpy(np.array(counts, np.int32)),
        "average_utilization_rate_over_window": None,
    }
    torch.save(dump, folder / "expert_distribution_recorder_1.pt")


def mbolt(folder: Path, shape: Shape) -> None:
    with (folder / "trace.mblt").open("wb") as file:
        file.write(struct.pack("<4sii", b"MBLT", 1, shape.experts))
        for _, ids_TLK, _ in shape.texts():
            for layer, ids_TK in enumerate(ids_TLK.swapaxes(0, 1)):
                file.write(struct.pack("<iii", layer, shape.top_k, len(ids_TK)))
                file.write(np.ascontiguousarray(ids_TK, np.int32).tobytes())


def responses(folder: Path, shape: Shape) -> None:
    """vLLM's: base64 of one .npy."""
    with (folder / "responses.jsonl").open("w") as file:
        for number, ids_TLK, _ in shape.texts():
            buffer = io.BytesIO()
            np.save(buffer, ids_TLK.astype(np.int16))
            answer = {
                "id": f"cmpl-{number}",
                "object": "text_completion",
                "model": "made",
                "choices": [
                    {
                        "index": 0,
                        "text": "made",
                        "routed_experts": base64.b64encode(buffer.getvalue()).decode(),
                    }
                ],
                "usage": {"prompt_tokens": len(ids_TLK), "completion_tokens": 1},
            }
            file.write(json.dumps(answer) + "\n")


def gptoss(folder: Path, shape: Shape) -> None:
    for number, ids_TLK, weights_TLK in shape.texts():
        rows = [
            {
                f"token_{token}": {
                    f"layer_{layer}": {"selected_experts": ids, "selected_probs": weights}
                    for layer, (ids, weights) in enumerate(zip(ids_LK, weights_LK, strict=True))
                }
            }
            for token, (ids_LK, weights_LK) in enumerate(
                zip(ids_TLK.tolist(), weights_TLK.round(6).tolist(), strict=True)
            )
        ]
        words = ["w"] * (len(rows) + 1)
        answer = {"category": "made", "full_text": words, "generated_only": words[:2]}
        text = json.dumps(answer | {"router_data": rows})
        (folder / f"answer_{number:05}.json").write_text(text)


def olmoe(folder: Path, shape: Shape) -> None:
    with (folder / "blocks.jsonl").open("w") as file:
        for _, ids_TLK, _ in shape.texts():
            block = {
                "input_ids": list(range(len(ids_TLK))),
                "predicted_token_ids": list(range(len(ids_TLK))),
                "exp_ids": ids_TLK.swapaxes(1, 2).tolist(),
            }
            file.write(json.dumps(block) + "\n")


def megatron(folder: Path, shape: Shape) -> None:
    with (folder / "router_rank0.jsonl").open("w") as file:
        for number, ids_TLK, _ in shape.texts():
            for layer, ids_TK in enumerate(ids_TLK.swapaxes(0, 1)):
                record = {
                    "step": number,
                    "stage": "pre_dispatch",
                    "block": "decoder",
                    "layer": layer,
                    "rank": 0,
                    "num_tokens": len(ids_TK),
                    "topk": shape.top_k,
                    "top_indices": ids_TK.tolist(),
                }
                file.write(json.dumps(record) + "\n")


def esft(folder: Path, shape: Shape) -> None:
    place = folder / "rank_0"
    place.mkdir()
    files = [(place / f"expert_weights_{layer + 1}.txt").open("w") for layer in range(shape.layers)]
    for _, ids_TLK, weights_TLK in shape.texts():
        for layer, file in enumerate(files):
            ids = "\t".join(map(str, ids_TLK[:, layer].ravel().tolist()))
            weights = "\t".join(map(str, (weights_TLK[:, layer] * 0.7).round(8).ravel().tolist()))
            file.write(f"{ids}\t\t{weights}\n")
    for file in files:
        file.close()


def colibri(folder: Path, shape: Shape) -> None:
    with (folder / "route.txt").open("w") as file:
        for number, ids_TLK, weights_TLK in shape.texts():
            for layer in range(shape.layers):
                for row, (ids, weights) in enumerate(
                    zip(ids_TLK[:, layer].tolist(), weights_TLK[:, layer].tolist(), strict=True)
                ):
                    pairs = " ".join(f"{i}:{w:.4f}" for i, w in zip(ids, weights, strict=True))
                    file.write(f"{number * shape.layers + layer} {row} {layer} {pairs}\n")


def llamacpp_csv(folder: Path, shape: Shape) -> None:
    with (folder / "trace.csv").open("w") as file:
        file.write("layer,expert\n")
        for _, ids_TLK, _ in shape.texts():
            for layer, ids_TK in enumerate(ids_TLK.swapaxes(0, 1)):
                file.write("".join(f"{layer},{expert}\n" for expert in ids_TK.ravel().tolist()))


BINARY: dict[str, Callable[[Path, Shape], None]] = {
    "sglang": sglang,
    "arrays": arrays,
    "mbolt": mbolt,
    "responses": responses,
}
TEXT: dict[str, Callable[[Path, Shape], None]] = {
    "gptoss": gptoss,
    "olmoe": olmoe,
    "megatron": megatron,
    "esft": esft,
    "colibri": colibri,
    "llamacpp-csv": llamacpp_csv,
}
COUNTS: dict[str, Callable[[Path, Shape], None]] = {"sglang-counts": sglang_counts}


def options(shape: Shape) -> Options:
    return Options(num_experts=shape.experts, top_k=shape.top_k)
