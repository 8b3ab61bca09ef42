"""What training left beside the weights: logs, evaluation, routing snapshots."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.saturation import saturation_table
from data.snapshots import read_snapshots


@dataclass(frozen=True)
class TrainingRecord:
    log: pd.DataFrame
    dense_log: pd.DataFrame | None
    violation: pd.DataFrame  # step, layer_id, max_violation
    bits: pd.DataFrame | None  # domain, moe, dense
    saturation: pd.DataFrame | None  # saturation_table()


def read(folder: Path) -> TrainingRecord:
    if not (folder / "train_log.jsonl").is_file():
        raise ValueError(f"there is no training log in {folder.name}")
    log = pd.read_json(folder / "train_log.jsonl", lines=True)
    dense = folder / "dense" / "train_log.jsonl"
    violation = log[["step", "max_violation"]].explode("max_violation", ignore_index=True)
    violation = violation.astype({"max_violation": float})
    snapshots = folder / "snapshots.safetensors"
    return TrainingRecord(
        log=log.drop(columns="max_violation"),
        dense_log=pd.read_json(dense, lines=True) if dense.is_file() else None,
        violation=violation.assign(layer_id=violation.groupby("step").cumcount()),
        bits=_bits(folder / "evaluation.json"),
        saturation=_saturation(snapshots) if snapshots.is_file() else None,
    )


def _saturation(path: Path) -> pd.DataFrame:
    found = read_snapshots(path)
    return saturation_table(found.steps, found.chosen)


def _bits(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    table = pd.DataFrame({"moe": found["moe"], "dense": found["dense"]})
    return table.rename_axis("domain").reset_index()


def headline(record: TrainingRecord) -> list[tuple[str, str, str]]:
    log = record.log
    last = record.violation[record.violation.step == record.violation.step.max()].max_violation
    figures = [
        ("Tokens read", f"{log.tokens.iloc[-1] / 1e9:.2f} B", f"{log.step.iloc[-1]:,} steps"),
        ("Final loss", f"{log.loss.iloc[-1]:.3f}", f"first {log.loss.iloc[0]:.2f} nats"),
        ("Worst MaxVio", f"{last.max():.2f}", "at the end; balanced 0"),
    ]
    if record.bits is not None:
        whole = record.bits.set_index("domain").loc["all"]
        figures.append(("Bits per byte", f"{whole.moe:.3f}", f"dense twin {whole.dense:.3f}"))
    return figures


def sentence(record: TrainingRecord) -> str:
    log = record.log
    if record.bits is None:
        return (
            f"The loss fell from {log.loss.iloc[0]:.2f} to {log.loss.iloc[-1]:.2f} nats per token."
        )
    whole = record.bits.set_index("domain").loc["all"]
    gain = 1 - whole.moe / whole.dense
    better = "better" if gain > 0 else "worse"
    text = (
        f"On held-out text the MoE is {abs(gain):.1%} {better} than a dense model of the same "
        "activated size trained on the same tokens."
    )
    if record.saturation is None:
        return text
    mean = record.saturation.groupby("step").saturation.mean()
    half = mean[mean >= 0.5].index[0]
    return (
        f"{text} By step {half:,} of {mean.index[-1]:,}, {mean[half]:.0%} of the final choices "
        f"were already made; {record.saturation.null.mean():.0%} would agree by chance."
    )
