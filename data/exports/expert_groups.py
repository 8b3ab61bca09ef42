"""Experts in groups of different use, for who quantizes them, and alarms for who watches them.

L = MoE layers, E = routed experts.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data.exports.layer_numbers import layer_numbers
from data.routing import LayerDescription


def group_table(
    layers: Sequence[LayerDescription], group_LE: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, str]]:
    """{layer: {expert: group}}."""
    return {
        str(number): {
            str(expert): names[group]
            for expert, group in enumerate(group_E[: layer.num_experts].tolist())
        }
        for number, layer, group_E in zip(layer_numbers(layers), layers, group_LE, strict=True)
    }


def pair_table(layers: Sequence[LayerDescription], pairs: pd.DataFrame) -> dict[str, list]:
    """{layer: [[expert, expert], ...]}."""
    names = ["expert_a", "expert_b"]
    return {
        str(number): pairs.loc[pairs.layer_id == layer_id, names].to_numpy().tolist()
        for layer_id, number in enumerate(layer_numbers(layers))
    }


def alarms(
    layers: Sequence[LayerDescription], rows: pd.DataFrame, *, window: int, false_alarms: float
) -> dict[str, object]:
    """Of each expert its expected share of the layer's choices and the share, in a window of so
    many tokens, below or above which it raises an alarm; null where it cannot be said."""
    numbers = layer_numbers(layers)
    table: dict[str, dict[str, dict[str, float | None]]] = {str(number): {} for number in numbers}
    names = {"expected": "expected", "lower_alarm": "lower", "upper_alarm": "upper"}
    for row in rows.to_dict("records"):
        of_expert = {
            name: None if pd.isna(row[column]) else float(row[column])
            for column, name in names.items()
        }
        table[str(numbers[row["layer_id"]])][str(row["expert_id"])] = of_expert
    return {"window_tokens": window, "false_alarms": false_alarms, "experts": table}
