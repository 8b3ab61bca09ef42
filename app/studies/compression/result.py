"""The rows that a smaller model leaves beside its weights, where the page Redundancy reads them."""

from pathlib import Path

import pandas as pd

from app.studies.compression.costs import Costs
from app.studies.compression.rule import Settings
from data.measurements import read_measurements
from data.outputs import write_atomically
from data.report import csv_text

FILE = "compression.csv"
ASKED = ("threshold", "share")
MEASURED = ("experts", "parameters", "changed_choices", "before", "after", "change", "n")


def write_result(settings: Settings, costs: Costs, folder: Path) -> None:
    rows = result_rows(settings, costs)
    write_atomically(folder / FILE, csv_text(rows))


def read_result(folder: Path) -> pd.DataFrame:
    """What `routescope prune` or the benchmark left beside the weights; empty without."""
    path = folder / FILE
    if not path.is_file():
        return pd.DataFrame()
    return read_measurements(
        path,
        names=("by", "how", "domain"),
        numbers=MEASURED,
        optional=(*ASKED, "low", "high"),
    )


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
