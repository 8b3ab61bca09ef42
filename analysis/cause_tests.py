"""How surely a change of loss is one, after how many experts were tried."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.causes import DOUBLE, typed
from analysis.controls import MIN_CONTROLS
from analysis.groups import NOT_ENOUGH
from analysis.permutation import false_discovery_rate
from analysis.significance import MAX_Q

CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
INCOMPARABLE = "no comparable experts"
CLAIM = ["layer_id", "expert_id", "domain"]


def with_q(table: pd.DataFrame, *, family: str) -> pd.DataFrame:
    """Rows with q by Benjamini and Hochberg over the rows of each `family`, after p."""
    p = table.p.astype("Float64").to_numpy(float, na_value=np.nan)
    q = (
        pd.Series(p)
        .groupby(table[family].to_numpy())
        .transform(lambda group: false_discovery_rate(group.to_numpy()))
    )
    return _after(table, "p", "q", pd.array(q.to_numpy(), dtype="Float64"))


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of cause_table with q, over the claims, and the verdict on the claim, last.

    *confirmed*: q of the double difference below MAX_Q and all decisive intervals above 0. An
    expert without a claim has no q: confirmed is what has a p as small as a claim with q < MAX_Q.
    """
    table, key = typed(table).reset_index(drop=True), [*CLAIM, "claimed"]
    claims = with_q(table[table.claimed], family="group")
    others = _after(table[~table.claimed], "p", "q", pd.array([pd.NA] * (~table.claimed).sum()))
    whole = pd.concat([claims, others.astype({"q": "Float64"})]).loc[table.index]
    whole = whole.drop(columns="verdict", errors="ignore")
    own = whole.loc[whole.group == "own", key].assign(few=whole.low.isna())
    last = whole[whole.group == DOUBLE].merge(own, on=key, how="left")
    return whole.merge(last[key].assign(verdict=_verdicts(last)), on=key, how="left")


def _verdicts(last: pd.DataFrame) -> np.ndarray:
    """Of the double differences; `few`: the texts are, so that even own has no interval."""
    p, q = (last[name].to_numpy(float, na_value=np.nan) for name in ("p", "q"))
    passing = p[q < MAX_Q]
    level = passing.max() if passing.size else -1.0
    clear = last.clear.fillna(False).to_numpy(bool)
    return np.select(
        [
            last.few.astype("boolean").fillna(False).to_numpy(bool),
            (last.n_controls < MIN_CONTROLS).to_numpy(bool),
            last.low.isna().to_numpy(bool),
            clear & (p <= level),
        ],
        [np.array(of) for of in (NOT_ENOUGH, INCOMPARABLE, NOT_ENOUGH, CONFIRMED)],
        np.array(NOT_CONFIRMED),
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """How many experts were put to the test, and how many passed."""

    tested: int
    confirmed: int

    @property
    def rate(self) -> float:
        return self.confirmed / self.tested if self.tested else np.nan


def tally(verdicts: pd.DataFrame, *, claimed: bool) -> Tally:
    """Of a table with verdicts, claims or experts without one; those that could be decided."""
    last = verdicts[(verdicts.group == DOUBLE) & (verdicts.claimed == claimed)]
    decided = last[last.verdict.isin([CONFIRMED, NOT_CONFIRMED])]
    return Tally(len(decided), int((decided.verdict == CONFIRMED).sum()))


def _after(
    table: pd.DataFrame, place: str, name: str, values: pd.api.extensions.ExtensionArray
) -> pd.DataFrame:
    columns = [column for column in table.columns if column != name]
    at = columns.index(place) + 1
    return table.assign(**{name: values})[[*columns[:at], name, *columns[at:]]]
