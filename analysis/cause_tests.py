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
    table = typed(table)
    claims = with_q(table[table.claimed], family="group")
    others = _after(table[~table.claimed], "p", "q", pd.array([pd.NA] * (~table.claimed).sum()))
    whole = pd.concat([claims, others.astype({"q": "Float64"})]).loc[table.index]
    by_claim = whole.set_index([*CLAIM, "claimed"])
    last = by_claim[by_claim.group == DOUBLE]
    own_low = by_claim.low[by_claim.group == "own"].reindex(last.index)
    level = last.p[(last.q < MAX_Q).fillna(False)].max()
    passed = (last.p <= level).fillna(False) if pd.notna(level) else last.p.isna() & False
    verdict = pd.Series(
        np.select(
            [
                own_low.isna() & last.index.get_level_values("claimed"),
                last.n_controls < MIN_CONTROLS,
                last.low.isna(),
                last.clear.fillna(False) & passed,
            ],
            [NOT_ENOUGH, INCOMPARABLE, NOT_ENOUGH, CONFIRMED],
            NOT_CONFIRMED,
        ),
        last.index,
        name="verdict",
    )
    return whole.drop(columns="verdict", errors="ignore").join(verdict, on=verdict.index.names)


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


def _after(table: pd.DataFrame, place: str, name: str, values: object) -> pd.DataFrame:
    columns = [column for column in table.columns if column != name]
    at = columns.index(place) + 1
    return table.assign(**{name: values})[[*columns[:at], name, *columns[at:]]]
