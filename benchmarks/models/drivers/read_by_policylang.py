"""moe-policylang: `record_trace`, which reads a prompt and derives ids from what routers give."""

from typing import Any

import torch
from moe_policylang.integrations.trace_recorder import record_trace

from benchmarks.models.drivers.reading import Layer, Subject, drive


def read(subject: Subject, text: str) -> list[Layer]:
    trace = record_trace(subject.model, subject.tokenizer, [text], max_new_tokens=0)
    layers: dict[int, list[Any]] = {}
    for entry in trace.entries:
        layers.setdefault(entry.layer_idx, []).append(entry)
    return [
        Layer(
            ids=torch.tensor([entry.selected_experts for entry in entries]),
            weights=torch.tensor([entry.router_scores for entry in entries]),
        )
        for _, entries in sorted(layers.items())
    ]


if __name__ == "__main__":
    drive(read, package="moe-policylang")
