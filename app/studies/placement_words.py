"""How placements are told: names of policies and measures, numbers with their intervals."""

from collections.abc import Iterator

import pandas as pd

from analysis.placement.policies import COACTIVATION, EPLB, EPLB_GLOBAL, GREEDY, IN_ORDER
from analysis.placement.table import (
    BUSIEST,
    GPUS,
    NODES,
    READ,
    READ_MOST,
    SGLANG,
    VLLM,
    VLLM_BEFORE_FIX,
)
from app.studies.placement import BEFORE, Planned

IF_OF_THESE = "A map in use that was made of these very texts looks better here than on others."
DASH = "\N{EN DASH}"
TITLES = {
    IN_ORDER: "in order",
    GREEDY: "greedy",
    EPLB: "EPLB",
    EPLB_GLOBAL: "EPLB, global",
    COACTIVATION: "co-activation",
}
MEASURE_TITLES = {
    BUSIEST: "busiest GPU",
    SGLANG: "balancedness, SGLang",
    VLLM: "balancedness, vLLM",
    VLLM_BEFORE_FIX: "balancedness, vLLM before its fix",
    READ: "experts read a batch and GPU",
    READ_MOST: "experts read, GPU with most",
    GPUS: "GPUs a token reaches",
    NODES: "nodes a token reaches",
}
SHORT = {  # as columns
    BUSIEST: "busiest GPU",
    SGLANG: "SGLang",
    VLLM: "vLLM",
    VLLM_BEFORE_FIX: "vLLM before its fix",
    READ: "experts read",
    READ_MOST: "read most",
    GPUS: "GPUs reached",
    NODES: "nodes reached",
}


def titles(of: Planned) -> dict[str, str]:
    """Of its maps."""
    return {BEFORE: "map in use" if of.in_use else "in order (no map given)"} | TITLES


def number(value: float, measure: str, *, signed: bool = False) -> str:
    """Empty where there is none."""
    if pd.isna(value):
        return ""
    form = ".3f" if measure in (SGLANG, VLLM, VLLM_BEFORE_FIX) else ".2f"
    return f"{value:{'+' if signed else ''}{form}}{'×' if measure == BUSIEST else ''}"


def with_interval(row: pd.Series, *, change: bool = False) -> str:
    name = "change" if change else "estimate"
    ends = ("change_low", "change_high") if change else ("low", "high")
    value = number(row[name], row.measure, signed=change)
    if pd.isna(row[ends[0]]):
        return value
    low, high = (number(row[end], row.measure, signed=change) for end in ends)
    return f"{value} ({low} to {high})" if change else f"{value} ({low}{DASH}{high})"


def in_lines(of: Planned, measure: str) -> Iterator[str]:
    """The maps by one measure, for a terminal; none of a measure that is unknown."""
    if not of.compared.has(measure):
        return
    table, names = of.compared.table, titles(of)
    rows = table[table.measure == measure]
    first, width = rows.iloc[0], 2 + max(len(names[plan]) for plan in rows.plan)
    best = "" if pd.isna(first.balanced) else f", balanced {first.balanced:.0f}"
    floor = number(first.random, first.measure)
    yield f"{MEASURE_TITLES[first.measure]}: random maps {floor}{best}"
    for row in (one for _, one in rows.iterrows()):
        mark = "*" if row.plan == of.settings.policy else " "
        change = with_interval(row, change=True)
        name = f"{names[row.plan]:<{width}}"
        yield f" {mark}{name}{with_interval(row)}{change and f'   {change}'}"
