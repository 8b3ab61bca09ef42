"""The rows that a smaller model leaves beside its weights, where the page Redundancy reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from app.studies.compression.costs import Costs
from data.report import csv_text

FILE = "compression.csv"


def write_result(settings: Mapping[str, object], costs: Costs, folder: Path) -> None:
    text = csv_text(result_rows(settings, costs))
    (folder / FILE).write_text(text, encoding="utf-8", newline="")


def result_rows(settings: Mapping[str, object], costs: Costs) -> pd.DataFrame:
    """What was asked, what is left, and the bits per byte of each domain: a row a domain."""
    asked: dict[str, Any] = {"by": "", "how": "", "threshold": pd.NA, "share": pd.NA, **settings}
    left: dict[str, Any] = {
        "experts": sum(costs.experts_by_layer[1]),
        "parameters": costs.parameters[1],
        "bytes": costs.bytes[1],
        "changed_choices": costs.changed_choices["estimate"],
    }
    table = costs.bits_per_byte
    return table.assign(**asked, **left)[[*asked, *left, *table.columns]]
