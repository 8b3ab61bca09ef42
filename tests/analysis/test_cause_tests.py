"""Verdicts on several experts together."""

import pandas as pd
import pytest

from analysis import cause_tests
from analysis.cause_tests import CONFIRMED, INCOMPARABLE, NOT_CONFIRMED, Tally
from analysis.causes import DOUBLE
from analysis.groups import NOT_ENOUGH
from tests.cause_rows import cause_rows


def verdicts(table: pd.DataFrame) -> dict[int, str]:
    whole = cause_tests.with_verdicts(table)
    assert (whole.groupby(["expert_id", "claimed"]).verdict.nunique() == 1).all()
    return dict(zip(whole.expert_id.tolist(), whole.verdict.tolist(), strict=True))


def test_q_is_over_the_rows_of_a_family() -> None:
    table = pd.DataFrame({"of": ["a", "a", "b", "a"], "p": [0.01, 0.2, 0.03, None]})
    found = cause_tests.with_q(table, family="of")
    assert found.q[:3].tolist() == pytest.approx([0.02, 0.2, 0.03])
    assert found.q.isna().tolist() == [False, False, False, True]
    assert list(found) == ["of", "p", "q"]


def test_confirmed_needs_clear_intervals_and_q() -> None:
    table = pd.concat(
        [
            cause_rows(0, p=0.001),
            cause_rows(1, p=0.001, clear=False),
            cause_rows(2, p=0.06),
            cause_rows(3, p=None, num_controls=3),
            cause_rows(4, p=None, known=False),
            cause_rows(5, p=None, known=False, num_controls=0),
        ],
        ignore_index=True,
    )
    assert verdicts(table) == {
        0: CONFIRMED,
        1: NOT_CONFIRMED,
        2: NOT_CONFIRMED,
        3: INCOMPARABLE,
        4: NOT_ENOUGH,
        5: NOT_ENOUGH,
    }


def test_one_small_p_among_many_claims_is_not_enough() -> None:
    few = [cause_rows(0, p=0.02), cause_rows(1, p=0.9)]
    many = [cause_rows(0, p=0.02), *(cause_rows(n, p=0.9) for n in range(1, 4))]
    assert verdicts(pd.concat(few))[0] == CONFIRMED  # q 0.04
    assert verdicts(pd.concat(many))[0] == NOT_CONFIRMED  # q 0.08


def test_an_expert_without_a_claim_passes_with_the_p_of_a_claim_that_passed() -> None:
    claims = [cause_rows(0, p=0.001), cause_rows(1, p=0.02), cause_rows(2, p=0.9)]
    others = [
        cause_rows(3, p=0.019, claimed=False),
        cause_rows(4, p=0.03, claimed=False),
        cause_rows(5, p=0.001, clear=False, claimed=False),
        cause_rows(6, p=None, num_controls=2, claimed=False),
    ]
    whole = cause_tests.with_verdicts(pd.concat(claims + others, ignore_index=True))
    assert cause_tests.tally(whole, claimed=True) == Tally(3, 2)
    assert cause_tests.tally(whole, claimed=False) == Tally(3, 1)
    assert whole.q[~whole.claimed].isna().all()


def test_nothing_confirmed_confirms_no_one_beside_it() -> None:
    table = pd.concat([cause_rows(0, p=0.9), cause_rows(1, p=0.001, claimed=False)])
    whole = cause_tests.with_verdicts(table.reset_index(drop=True))
    assert cause_tests.tally(whole, claimed=False) == Tally(1, 0)


def test_verdicts_can_be_given_again_when_more_was_measured() -> None:
    once = cause_tests.with_verdicts(cause_rows(0, p=0.02))
    more = [once, *(cause_rows(n, p=0.9) for n in range(1, 4))]
    again = cause_tests.with_verdicts(pd.concat(more, ignore_index=True))
    assert set(again.verdict[again.group == DOUBLE]) == {NOT_CONFIRMED}
    assert list(again).count("verdict") == list(again).count("q") == 1
