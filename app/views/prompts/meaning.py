"""What a colour says of a row of a text's routing: the group of its expert, or an amount."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.views.shared.heatmap import amount_axis
from app.views.shared.theme import Palette, shade
from data.routing import NO_EXPERT

NO_ENTRY = -1  # of a row that belongs to none of a legend


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of a legend."""

    name: str
    color: str
    words: tuple[str, ...] = ()  # typical tokens, as they are shown
    detail: str = ""
    quiet: bool = False  # of what has no group

    @property
    def in_words(self) -> str:
        return f"{self.name}: {' '.join(self.words)}" if self.words else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning(ABC):
    """Rows have layer_id, expert_id, entropy and loss; their order is kept."""

    by: str  # as the control calls it
    title: str  # of the legend
    answer: str = ""  # what the colours of the text show, in a sentence
    note: str
    entries: tuple[Entry, ...]
    everywhere: bool = True  # it says something of every layer, not only of the one that is shown

    @property
    def ramp(self) -> Sequence[str]:
        """Colours from little to much; empty where entries have the colours."""
        return ()

    @property
    def ticks(self) -> Sequence[str]:
        """What stands along the ramp, evenly."""
        return ()

    @abstractmethod
    def numbers(self, rows: pd.DataFrame) -> np.ndarray:
        """As on the axis; NaN where nothing is said."""

    @abstractmethod
    def axis(self) -> dict:
        """A coloraxis of Plotly."""

    @abstractmethod
    def places(self, rows: pd.DataFrame) -> np.ndarray:
        """In the entries; NO_ENTRY."""

    @abstractmethod
    def colors(self, rows: pd.DataFrame) -> list[str]: ...

    @abstractmethod
    def values(self, rows: pd.DataFrame) -> list[str | float]:
        """What is coloured, as tables say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups(Meaning):
    """A colour is a group of experts."""

    entry_LE: np.ndarray  # places in the entries, or NO_ENTRY
    neutral: str

    def numbers(self, rows: pd.DataFrame) -> np.ndarray:
        places = self.places(rows)
        return np.where(places == NO_ENTRY, np.nan, places)

    def axis(self) -> dict:
        """One band a group, without transitions."""
        edges = np.arange(len(self.entries) + 1) / len(self.entries)
        bands = [
            [float(edges[place + side]), entry.color]
            for place, entry in enumerate(self.entries)
            for side in (0, 1)
        ]
        limits = {"cmin": -0.5, "cmax": len(self.entries) - 0.5}
        return {"colorscale": bands, "showscale": False, **limits}

    def places(self, rows: pd.DataFrame) -> np.ndarray:
        chosen = rows.expert_id.to_numpy() != NO_EXPERT
        entries = self.entry_LE[rows.layer_id, np.where(chosen, rows.expert_id, 0)]
        return np.where(chosen, entries, NO_ENTRY)

    def colors(self, rows: pd.DataFrame) -> list[str]:
        colors = [*(entry.color for entry in self.entries), self.neutral]  # the last: NO_ENTRY
        return [colors[place] for place in self.places(rows)]

    def values(self, rows: pd.DataFrame) -> list[str | float]:
        names = [*(entry.in_words for entry in self.entries), ""]
        return [names[place] for place in self.places(rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount(Meaning):
    """A colour is a number from 0 to `high`, which larger ones look like; its one entry, if there
    is one, is of the rows without a number. `high_L` is given where each layer has its own."""

    column: str
    high: float
    high_L: np.ndarray | None = None
    palette: Palette
    marks: tuple[str, ...]

    @property
    def ramp(self) -> Sequence[str]:
        return self.palette.sequential

    @property
    def ticks(self) -> Sequence[str]:
        return self.marks

    def numbers(self, rows: pd.DataFrame) -> np.ndarray:
        """Parts of what is most in each layer, where layers differ in it."""
        return rows[self.column].to_numpy(float) if self.high_L is None else self._parts(rows)

    def axis(self) -> dict:
        if self.high_L is None:
            return amount_axis(self.palette, high=self.high, title=self.column, tickformat=".1f")
        title = f"{self.column}, of most"
        return amount_axis(self.palette, high=1, title=title, tickformat=".0%")

    def places(self, rows: pd.DataFrame) -> np.ndarray:
        return np.where(rows[self.column].isna(), 0, NO_ENTRY)

    def colors(self, rows: pd.DataFrame) -> list[str]:
        return [
            self.palette.neutral if np.isnan(part) else shade(self.ramp, part)
            for part in np.clip(self._parts(rows), 0, 1).tolist()
        ]

    def values(self, rows: pd.DataFrame) -> list[str | float]:
        return [*rows[self.column].to_numpy(float).tolist()]

    def _parts(self, rows: pd.DataFrame) -> np.ndarray:
        high = self.high if self.high_L is None else self.high_L[rows.layer_id]
        return rows[self.column].to_numpy(float) / high
