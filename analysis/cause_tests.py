"""How surely a change of loss is one, after how many experts were tried."""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.bootstrap import CONFIDENCE
from analysis.causes import CONFIRMED, DECISIVE
from analysis.permutation import false_discovery_rate
from analysis.significance import MAX_Q


def with_tests(table: pd.DataFrame, *, family: str) -> pd.DataFrame:
    """Rows of cause_table or domain_changes with p, two-sided, of no change, and q by Benjamini
    and Hochberg over the rows of each `family`; after high.

    p is Student's, with the standard error that the end of the interval towards 0 stands for: it
    is below 0.05 where the interval leaves 0 out.
    """
    estimate, low, high = (
        table[name].to_numpy(float, na_value=np.nan) for name in ("estimate", "low", "high")
    )
    freedom = np.maximum(table.n_documents.to_numpy(float) - 1, 1)
    reach = np.maximum(np.where(estimate > 0, estimate - low, high - estimate), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.where(estimate == 0, 0 * reach, np.abs(estimate) / reach)
    p = pd.Series(2 * stats.t.sf(ends * stats.t.ppf((1 + CONFIDENCE) / 2, freedom), freedom))
    q = p.groupby(table[family].to_numpy()).transform(
        lambda group: false_discovery_rate(group.to_numpy())
    )
    columns = [name for name in table.columns if name not in ("p", "q")]
    place = columns.index("high") + 1
    tests = {"p": p.to_numpy(), "q": q.to_numpy()}
    tested = table.assign(**{name: pd.array(of, dtype="Float64") for name, of in tests.items()})
    return tested[[*columns[:place], *tests, *columns[place:]]]


def surely_confirmed(table: pd.DataFrame) -> int:
    """Of a table with tests: experts confirmed that have q < MAX_Q in all three as well."""
    decisive = table[table.group.isin(DECISIVE) & (table.verdict == CONFIRMED)]
    names = ["layer_id", "expert_id", "domain"]
    return int((decisive.q < MAX_Q).fillna(False).groupby([decisive[n] for n in names]).all().sum())
