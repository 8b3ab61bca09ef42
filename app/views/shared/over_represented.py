"""What is over-represented among some points of a map, or choices of some experts, as tables."""

from dataclasses import dataclass

import pandas as pd

from app.views.shared.panel import Panel

LISTED = 6  # rows of a table
PLACES = ["doc_id", "position"]
LEFT_OUT = ("share", "share_of_rest", "p")  # in the file only
TITLES = {"domains": "Domains", "experts": "Experts", "words": "Tokens", "layers": "Layers"}


@dataclass(frozen=True, slots=True)
class Found:
    tables: dict[str, pd.DataFrame]  # by what of TITLES their rows are
    note: str  # why there are no intervals; empty if there are


def reading(here: str, elsewhere: str) -> str:
    return (
        f"Ratio: the share {here} over that {elsewhere}, with 95 % intervals and q over groups of "
        "texts, all tables together."
    )


def panels(found: Found) -> list[Panel]:
    """The rows of most over-represented items; the files have all that were compared."""
    return [_panel(name, table) for name, table in found.tables.items()]


def _panel(name: str, table: pd.DataFrame) -> Panel:
    shown = table[table.ratio > 1].head(LISTED)
    last = [column for column in PLACES if column in table]
    columns = [column for column in table if column not in (*LEFT_OUT, *last)] + last
    return Panel(
        name=f"{name}_here",
        table=table,
        title=TITLES[name],
        preview=shown[columns] if len(shown) else None,
        note="" if len(shown) else "None is more frequent here than among the others.",
    )
