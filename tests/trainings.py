"""Folders as `routescope train` leaves them, written without training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

STAGE_ENDS = [("incubation", 20), ("specialization", 60), ("joint optimization", 80)]


def log_line(step: int, **more: object) -> dict[str, object]:
    """As logged before there were stages."""
    line = {"step": step, "tokens": 1000 * step, "loss": 9 / step, "max_violation": [1.0, 0.5]}
    return {**line, **more}


def staged_line(step: int) -> dict[str, object]:
    """As logged with stages: math is drawn more often later, and a token activates fewer."""
    return log_line(
        step,
        stage=next(name for name, last in STAGE_ENDS if step <= last),
        sequence_length=16,
        chosen=[3.0, 2.0] if step <= 40 else [2.0, 1.0],
        domain_loss={"math": 2.0, "code": None},
        domain_share={"math": 0.5, "code": 0.5} if step <= 20 else {"math": 0.75, "code": 0.25},
        consistency=0.1 if step > 60 else None,
    )


def write_log(folder: Path, lines: Sequence[Mapping[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "train_log.jsonl").write_text(text, encoding="utf-8")


def write_config(folder: Path, *, steps: int, stages: bool = False, num_experts: int = 4) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, object] = {"steps": steps, "model": {"num_experts": num_experts, "top_k": 2}}
    config |= {"stage_ends": STAGE_ENDS} if stages else {}
    (folder / "train_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_snapshots(
    path: Path,
    chosen_SLE: Mapping[int, np.ndarray],
    tokens_NLE: Mapping[int, np.ndarray],
    *,
    domain_id_N: Sequence[int],
    domains: Sequence[str] = ("math", "code"),
) -> None:
    arrays = {"domain_id": np.array(domain_id_N, np.uint8)}
    for step, array_SLE in chosen_SLE.items():
        arrays[f"chosen_{step:08}"] = np.packbits(array_SLE, axis=-1)
        arrays[f"tokens_{step:08}"] = tokens_NLE[step].astype(np.uint16)
    num_experts = next(iter(tokens_NLE.values())).shape[-1]
    save_file(arrays, path, {"num_experts": str(num_experts), "domains": json.dumps([*domains])})


def write_training(folder: Path, *, finished: bool = True, last: int = 80) -> None:
    """Three stages of two layers of four experts: at first all choose alike, in the end experts 0
    and 1 of both layers work for math, 2 and 3 for code."""
    write_config(folder, steps=9, stages=True)
    write_log(folder, [staged_line(step) for step in range(20, last + 1, 20)])
    even_NLE = np.full((8, 2, 4), 100)
    own_N4 = np.repeat([[300, 300, 0, 0], [0, 0, 300, 300]], 4, axis=0)
    split_NLE = np.stack([own_N4, own_N4], 1)
    first_SLE = np.tile([True, True, True, False], (8, 2, 1))
    last_SLE = np.stack([own_N4, own_N4], 1) > 0
    write_snapshots(
        folder / "snapshots.safetensors",
        {1: first_SLE, last: last_SLE},
        {1: even_NLE, last: split_NLE},
        domain_id_N=[0, 0, 0, 0, 1, 1, 1, 1],
    )
    if finished:
        (folder / "config.json").write_text('{"num_experts": 4, "top_k": 2}', encoding="utf-8")
        bits = {"math": 2.0, "code": 3.0, "all": 2.5}
        (folder / "evaluation.json").write_text(json.dumps(bits), encoding="utf-8")
