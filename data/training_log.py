"""train_log.jsonl: a line every few steps, the last one perhaps still being written.

L = MoE layers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pandas as pd

REQUIRED = {"step": int, "tokens": int, "loss": int | float, "max_violation": list}
ADVICE = "the log was cut or edited: restore it, or train again in another folder"


class _Record(TypedDict, total=False):
    """What a line must have, and `chosen`; it may have more."""

    step: int
    tokens: int
    loss: float
    max_violation: list[float]
    chosen: list[float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    step: int
    tokens: int
    violation_L: list[float]  # MaxVio
    chosen_L: list[float] | None  # experts a token chose; None: not logged
    plain: Mapping[str, object]  # by key: its numbers and words, step, tokens and loss among them
    by_domain: Mapping[str, Mapping[str, float | None]]  # by key, then by domain


def read_log(path: Path) -> list[Line]:
    """Its lines in order; one that is half written at the end is left out. Refuses all else."""
    texts = [
        (number, text)
        for number, text in enumerate(path.read_bytes().split(b"\n"), start=1)
        if text.strip()
    ]
    lines: list[Line] = []
    for number, text in texts:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            if number == texts[-1][0]:
                break
            raise ValueError(f"{path} line {number} is not JSON: {error}; {ADVICE}") from error
        if trouble := _trouble(record, lines):
            raise ValueError(f"{path} line {number} {trouble}; {ADVICE}")
        lines.append(_line(record))
    return lines


def is_number(value: object) -> bool:
    """A finite one, which fits a column of a table."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _trouble(record: object, before: list[Line]) -> str:
    """What is wrong with a line; empty where nothing is."""
    if not isinstance(record, dict):
        return f"is no object: found {str(record)[:40]!r}"
    for key, kind in REQUIRED.items():
        value = record.get(key)
        if not isinstance(value, kind) or (kind is not list and not is_number(value)):
            return f"has no {key}" if key not in record else f"has {key} {str(record[key])[:40]!r}"
    if not 0 < record["step"] < 2**63 or not 0 <= record["tokens"] < 2**63:
        return f"has step {record['step']} and {record['tokens']} tokens"
    if before and record["step"] <= before[-1].step:
        return f"goes back from step {before[-1].step} to {record['step']}"
    for key in ("max_violation", "chosen"):
        values = record.get(key) or []
        if not isinstance(values, list) or not all(map(is_number, values)):
            return f"has {key} {str(values)[:40]!r}"
    for key, values in record.items():
        numbers = values.values() if isinstance(values, dict) else ()
        if not all(value is None or is_number(value) for value in numbers):
            return f"has {key} {str(values)[:40]!r}"
    layers = len(record["max_violation"])
    if before and layers != len(before[-1].violation_L):
        return f"has {layers} layers, not {len(before[-1].violation_L)} as the one before"
    if len(record.get("chosen") or record["max_violation"]) != layers:
        return f"has {len(record['chosen'])} numbers of chosen experts for {layers} layers"
    return ""


def _line(record: _Record) -> Line:
    values = record.items()
    return Line(
        step=record["step"],
        tokens=record["tokens"],
        violation_L=record["max_violation"],
        chosen_L=record.get("chosen") or None,
        plain={key: value for key, value in values if not isinstance(value, list | dict)},
        by_domain={key: value for key, value in values if isinstance(value, dict)},
    )


def steps_table(lines: list[Line]) -> pd.DataFrame:
    """A row a line: its plain numbers and words."""
    rows = [dict(line.plain) for line in lines]
    return pd.DataFrame(rows, columns=None if rows else ["step", "tokens", "loss"])


def layers_table(lines: list[Line]) -> pd.DataFrame:
    """step, tokens, layer_id, max_violation, chosen (experts a token chose; NaN if not logged)."""
    rows = [
        (line.step, line.tokens, layer_id, violation, line.chosen_L and line.chosen_L[layer_id])
        for line in lines
        for layer_id, violation in enumerate(line.violation_L)
    ]
    columns = ["step", "tokens", "layer_id", "max_violation", "chosen"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"max_violation": float, "chosen": float})


def domains_table(lines: list[Line], key: str) -> pd.DataFrame:
    """step, tokens, domain, value: what was logged by domain under that key."""
    rows = [
        (line.step, line.tokens, domain, value)
        for line in lines
        for domain, value in line.by_domain.get(key, {}).items()
    ]
    table = pd.DataFrame(rows, columns=["step", "tokens", "domain", "value"])
    return table.astype({"value": float})
