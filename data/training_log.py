"""train_log.jsonl: a line every few steps, the last one perhaps still being written."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

REQUIRED = {"step": int, "tokens": int, "loss": int | float, "max_violation": list}
ADVICE = "the log was cut or edited: restore it, or train again in another folder"

Line = dict[str, Any]


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
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            if number == texts[-1][0]:
                break
            raise ValueError(f"{path} line {number} is not JSON: {error}; {ADVICE}") from error
        if trouble := _trouble(line, lines):
            raise ValueError(f"{path} line {number} {trouble}; {ADVICE}")
        lines.append(line)
    return lines


def _trouble(line: Any, before: list[Line]) -> str:
    """What is wrong with a line; empty where nothing is."""
    if not isinstance(line, dict):
        return f"is no object: found {str(line)[:40]!r}"
    for key, kind in REQUIRED.items():
        if not isinstance(line.get(key), kind):
            return f"has no {key}" if key not in line else f"has {key} {str(line[key])[:40]!r}"
    if before and line["step"] <= before[-1]["step"]:
        return f"goes back from step {before[-1]['step']} to {line['step']}"
    layers = len(line["max_violation"])
    if before and layers != len(before[-1]["max_violation"]):
        return f"has {layers} layers, not {len(before[-1]['max_violation'])} as the one before"
    if len(line.get("chosen") or line["max_violation"]) != layers:
        return f"has {len(line['chosen'])} numbers of chosen experts for {layers} layers"
    return ""


def steps_table(lines: list[Line]) -> pd.DataFrame:
    """A row a line: its plain numbers and words."""
    rows = [
        {key: value for key, value in line.items() if not isinstance(value, list | dict)}
        for line in lines
    ]
    return pd.DataFrame(rows, columns=None if rows else ["step", "tokens", "loss"])


def layers_table(lines: list[Line]) -> pd.DataFrame:
    """step, tokens, layer_id, max_violation, chosen (experts a token chose; NaN if not logged)."""
    rows = [
        (line["step"], line["tokens"], layer_id, violation, chosen)
        for line in lines
        for layer_id, (violation, chosen) in enumerate(_by_layer(line))
    ]
    columns = ["step", "tokens", "layer_id", "max_violation", "chosen"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"max_violation": float, "chosen": float})


def _by_layer(line: Line) -> list[tuple[float, float | None]]:
    violation_L = line["max_violation"]
    return list(zip(violation_L, line.get("chosen") or [None] * len(violation_L), strict=True))


def domains_table(lines: list[Line], key: str) -> pd.DataFrame:
    """step, tokens, domain, value: what was logged by domain under that key."""
    rows = [
        (line["step"], line["tokens"], domain, value)
        for line in lines
        for domain, value in (line.get(key) or {}).items()
    ]
    table = pd.DataFrame(rows, columns=["step", "tokens", "domain", "value"])
    return table.astype({"value": float})
