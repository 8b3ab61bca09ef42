"""The rows that a smaller model leaves beside its weights, where the page Redundancy reads them."""

from pathlib import Path

import pandas as pd

from app.studies.compression.costs import Costs
from app.studies.compression.rule import Settings
from data.report import csv_text

FILE = "compression.csv"


def write_result(settings: Settings, costs: Costs, folder: Path) -> None:
    rows = result_rows(settings, costs)
    (folder / FILE).write_text(csv_text(rows), encoding="utf-8", newline="")


def result_rows(settings: Settings, costs: Costs) -> pd.DataFrame:
    """What was asked, what is left, and the bits per byte of each domain: a row a domain."""
    asked = {"by": "", "how": "", "threshold": None, "share": None, **settings}
    left = {
        "experts": sum(costs.experts_by_layer[1]),
        "parameters": costs.parameters[1],
        "bytes": costs.bytes[1],
        "changed_choices": costs.changed_choices["estimate"],
    }
    table = costs.bits_per_byte
    return table.assign(**asked, **left)[[*asked, *left, *table.columns]]
