"""Small dumps of SGLang's recorder and of Megatron-Core, as these write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.counts import CountsBatch
from data.importers.source import DumpFile, Meter, Options, Source
from data.routing import RoutingBatch

IDENTITY = ((0, 1, 2, 3), (0, 1, 2, 3))  # 2 layers of 4 experts without copies


def dump_file(path: Path) -> DumpFile:
    return DumpFile(path, path.name)


def save_stat(path: Path, counts: Sequence[Sequence[Sequence[int]]]) -> DumpFile:
    """`counts`: steps, layers, experts."""
    torch.save(
        {
            "rank": 0,
            "logical_count": torch.tensor(counts, dtype=torch.int32),
            "average_utilization_rate_over_window": None,
        },
        path,
    )
    return dump_file(path)


def save_records(
    path: Path,
    records: Sequence[Mapping[str, object]],
    physical_map: Sequence[Sequence[int]] | None = IDENTITY,
) -> DumpFile:
    last_map = None if physical_map is None else torch.tensor(physical_map)
    torch.save({"records": list(records), "last_physical_to_logical_map": last_map}, path)
    return dump_file(path)


def pass_record(
    pass_id: int, counts: Sequence[Sequence[int]], *, rank: int = 0
) -> dict[str, object]:
    """`counts`: layers, physical experts."""
    return {
        "forward_pass_id": pass_id,
        "rank": rank,
        "gatherer_key": "primary",
        "global_physical_count": torch.tensor(counts, dtype=torch.int32),
    }


def token_record(
    pass_id: int,
    choices: Sequence[Sequence[Sequence[int]]],
    *,
    token_ids: Sequence[int],
    positions: Sequence[int],
    lengths: Sequence[int] | None,
    mode: int,
    rank: int = 0,
) -> dict[str, object]:
    """`choices`: tokens, layers, experts; the recorder has room for 8 a token."""
    ids_LT8 = torch.full((2, len(choices), 8), -1, dtype=torch.int32)
    if choices:
        chosen_LTK = torch.tensor(choices, dtype=torch.int32).transpose(0, 1)
        ids_LT8[:, :, : chosen_LTK.shape[2]] = chosen_LTK
    return {
        "forward_pass_id": pass_id,
        "rank": rank,
        "gatherer_key": "primary",
        "input_ids": list(token_ids),
        "positions": list(positions),
        "extend_seq_lens": None if lengths is None else list(lengths),
        "forward_mode": mode,
        "topk_ids_of_layer": ids_LT8,
        "misc_objects": [],
        "global_physical_count": torch.zeros(2, 4, dtype=torch.int32),
    }


def router_record(
    step: int, layer: int, top_indices: Sequence[Sequence[int]], **more: object
) -> dict[str, object]:
    return {
        "step": step,
        "stage": "pre_dispatch",
        "block": "decoder",
        "layer": layer,
        "rank": 0,
        "num_tokens": len(top_indices),
        "topk": len(top_indices[0]) if top_indices else 2,
        "top_indices": [list(row) for row in top_indices],
    } | more


def save_lines(path: Path, records: Sequence[object]) -> DumpFile:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return dump_file(path)


def save_loads(
    path: Path,
    loads: Sequence[Sequence[Sequence[int]]],
    *,
    layers: Sequence[int] = (1, 2),
    rank: int = 0,
    changes: Mapping[str, object] | None = None,
) -> DumpFile:
    """`loads`: layers, forward passes, physical experts. `changes`: other arrays, by name."""
    loads_LNP = np.array(loads, np.int32)
    values: dict[str, object] = {
        "dump_version": "mcore_ep_load_dump_v1",
        "capture_id": "20260101_000000_pid7",
        "loads": loads_LNP,
        "layer_numbers": np.array(layers, np.int32),
        "forward_counts": np.full(len(layers), loads_LNP.shape[1], np.int32),
        "ep_group_ranks": np.array([0, 1], np.int32),
        "ep_rank": np.int32(rank),
        "ep_size": np.int32(2),
        "global_rank": np.int32(rank),
        "num_global_physical_experts": np.int32(loads_LNP.shape[2]),
        "num_local_physical_experts": np.int32(loads_LNP.shape[2] // 2),
    } | dict(changes or {})
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in values.items()}
    np.savez(path, **arrays)
    return dump_file(path)


def routing(source: Source) -> list[RoutingBatch]:
    batches = list(source.batches(Meter()))
    assert all(isinstance(batch, RoutingBatch) for batch in batches)
    return [batch for batch in batches if isinstance(batch, RoutingBatch)]


def counts(source: Source) -> list[CountsBatch]:
    batches = list(source.batches(Meter()))
    assert all(isinstance(batch, CountsBatch) for batch in batches)
    return [batch for batch in batches if isinstance(batch, CountsBatch)]


def kinds(source: Source) -> dict[str, int]:
    """Occurrences of each finding, of the source and of its batches."""
    findings = [*source.findings]
    for batch in source.batches(Meter()):
        findings += batch.findings
    return {finding.kind: finding.occurrences for finding in findings}


NO_OPTIONS = Options()
